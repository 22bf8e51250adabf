"""Runs the commands of the README.

Each ```bash block under the heading "First session" is run in a shell of its own:

- ``127.0.0.1:8080`` becomes the address of a new server.
- ``export RYZE_TOKEN=...`` gets the token printed by that server. Exports apply to all later
  blocks.
- ``ryze serve`` is removed, as that server is running already.
- A block whose last line is ``ryze listen`` or ``wscat`` runs in the background of the later
  blocks, and must have printed an event in the end.
- Every other block must succeed, and curl must get a 2xx.
"""

import re
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from .conftest import StartServer
from .harness import E2E_FOLDER, Server, require_tool, run_bash, wait_until
from .terminal import Terminal

README = (E2E_FOLDER.parent.parent / "README.md").read_text()


def blocks_under(heading: str) -> list[str]:
    """The ```bash blocks between this heading and the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", README, re.M | re.S)
    assert found, f"README.md has no heading {heading!r}"
    blocks = re.findall(r"^```bash\n(.*?)^```", found[2], re.M | re.S)
    assert blocks, f"README.md has no ```bash blocks under {heading!r}"
    return blocks


def for_server(block: str, server: Server) -> str:
    block = block.replace("127.0.0.1:8080", urlsplit(server.url).netloc)
    block = re.sub(r"(RYZE_TOKEN=)\S+", rf"\g<1>{server.account_token}", block)
    return re.sub(r"^ryze serve\b.*\n", "", block, flags=re.M)


def test_first_session(start_server: StartServer, tmp_path: Path) -> None:
    require_tool("curl")
    server = start_server()
    (tmp_path / ".curlrc").write_text("fail-with-body\n")
    exports, terminals = "set -e\n", []
    with ExitStack() as stack:
        for block in blocks_under("First session"):
            script = for_server(block, server)
            last = script.strip().rpartition("\n")[2]
            if last.startswith(("ryze listen", "wscat")):
                require_tool(last.split()[0])
                terminal = Terminal(exports + script, tmp_path, CURL_HOME=str(tmp_path))
                terminals.append(stack.enter_context(terminal))
                server.wait_connected(len(terminals))
            else:
                run_bash(exports + script, CURL_HOME=str(tmp_path))
            exports += "".join(re.findall(r"^export .*\n", script, re.M))
        assert terminals, "no block subscribes"
        wait_until(
            lambda: all(terminal.printed_lines('"instanceData"') for terminal in terminals),
            "an event is printed in every terminal",
        )


def test_publishing_at_rate(start_server: StartServer, tmp_path: Path) -> None:
    """With the variables and the instance of the first session."""
    require_tool("curl")
    server = start_server()
    (tmp_path / ".curlrc").write_text("fail-with-body\n")
    exports, create, *_ = [for_server(each, server) for each in blocks_under("First session")]
    start = f"set -e\ncd {tmp_path}\n{exports}"
    run_bash(start + create, CURL_HOME=str(tmp_path))
    for block in blocks_under("Publishing at rate"):
        response = run_bash(start + for_server(block, server), CURL_HOME=str(tmp_path))
        assert '"message":"Event published"' in response
