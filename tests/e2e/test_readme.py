"""The first session of the README, run as it is written.

What stands in ```bash blocks under the heading "First session" is run, block by block, each as
if pasted into a terminal of its own:

- The address ``127.0.0.1:8080`` becomes that of a fresh server.
- ``export RYZE_TOKEN=...`` gets the token that this server has printed. What blocks export
  counts in all blocks behind them.
- ``ryze serve`` is that fresh server, which runs already.
- A block whose last line is ``ryze listen`` or ``wscat`` goes on while the next ones run, and
  must have printed an event when all of them are done.
- Everything else must succeed, and curl must get a 2xx.
"""

import re
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from .conftest import StartServer
from .harness import HERE, Server, bash, tool, wait_until
from .terminal import Terminal

README = (HERE.parent.parent / "README.md").read_text()


def blocks_under(heading: str) -> list[str]:
    """The ```bash blocks between this heading and the next one of its rank or a higher one."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", README, re.M | re.S)
    assert found, f"README.md has the heading {heading!r}"
    blocks = re.findall(r"^```bash\n(.*?)^```", found[2], re.M | re.S)
    assert blocks, f"README.md has ```bash blocks under {heading!r}"
    return blocks


def for_server(block: str, server: Server) -> str:
    block = block.replace("127.0.0.1:8080", urlsplit(server.url).netloc)
    block = re.sub(r"(RYZE_TOKEN=)\S+", rf"\g<1>{server.account_token}", block)
    return re.sub(r"^ryze serve\b.*\n", "", block, flags=re.M)


def test_the_first_session(start_server: StartServer, tmp_path: Path) -> None:
    tool("curl")
    server = start_server()
    (tmp_path / ".curlrc").write_text("fail-with-body\n")
    exports, listening = "set -e\n", []
    with ExitStack() as stack:
        for block in blocks_under("First session"):
            script = for_server(block, server)
            last = script.strip().rpartition("\n")[2]
            if last.startswith(("ryze listen", "wscat")):
                tool(last.split()[0])
                terminal = Terminal(exports + script, tmp_path, CURL_HOME=str(tmp_path))
                listening.append(stack.enter_context(terminal))
                server.wait_connected(len(listening))
            else:
                bash(exports + script, CURL_HOME=str(tmp_path))
            exports += "".join(re.findall(r"^export .*\n", script, re.M))
        assert listening, "somebody listens"
        wait_until(
            lambda: all(terminal.printed('"instanceData"') for terminal in listening),
            "an event is printed in every terminal that listens",
        )


def test_other_ways_to_publish(start_server: StartServer, tmp_path: Path) -> None:
    """Behind the first session: its variables and its instance are there."""
    tool("curl")
    server = start_server()
    (tmp_path / ".curlrc").write_text("fail-with-body\n")
    exports, create, *_ = [for_server(each, server) for each in blocks_under("First session")]
    start = f"set -e\ncd {tmp_path}\n{exports}"
    bash(start + create, CURL_HOME=str(tmp_path))
    for block in blocks_under("Publishing at rate"):
        answer = bash(start + for_server(block, server), CURL_HOME=str(tmp_path))
        assert '"message":"Event published"' in answer
