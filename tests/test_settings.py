"""Settings: parsing and validation per row and across rows, and masking of secrets."""

import base64
from dataclasses import FrozenInstanceError, fields
from ipaddress import ip_network
from pathlib import Path

import limits
import pytest

from ryze.errors import SettingsError
from ryze.settings import Settings, all_settings

KEY = base64.b64encode(bytes(range(32))).decode()


def parse(**texts: object) -> Settings:
    return Settings.from_environ({}, **texts)


def test_every_field_is_documented() -> None:
    assert [row.name for row in all_settings()] == [field.name for field in fields(Settings)]
    for row in all_settings():
        assert row.help.endswith(".")
        assert row.expected
        assert row.metavar


def test_variable_and_flag_are_derived_from_the_attribute() -> None:
    row = next(row for row in all_settings() if row.name == "max_body_bytes")
    assert (row.variable, row.flag) == ("RYZE_MAX_BODY_BYTES", "--max-body-bytes")


def test_defaults_match_the_contract() -> None:
    settings = parse()
    assert settings == Settings()
    assert (settings.host, settings.port, settings.base_url) == ("127.0.0.1", 8080, "")
    assert settings.data_dir == Path("ryze-data")
    assert settings.database_url == "sqlite:///ryze-data/ryze.db"
    assert (settings.account_token, settings.encryption_key) == ("", "")
    assert settings.global_rate_limit == limits.parse("100/minute")
    assert settings.create_rate_limit == limits.parse("20/minute")
    assert settings.publish_rate_limit is None
    assert (settings.allowed_origins, settings.trusted_proxies) == ((), ())
    assert (settings.client_buffer_messages, settings.client_buffer_bytes) == (256, 67108864)
    assert (settings.ping_interval_seconds, settings.pong_timeout_seconds) == (30, 60)
    assert (settings.max_connections, settings.max_connections_per_instance) == (0, 0)
    assert (settings.max_body_bytes, settings.compression) == (33554432, False)
    assert (settings.drain_seconds, settings.tls_cert, settings.tls_key) == (10, None, None)
    assert (settings.log_level, settings.log_format) == ("info", "auto")


def test_settings_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        parse().port = 1  # type: ignore[misc]


def test_overrides_win_over_variables() -> None:
    environ = {"RYZE_PORT": " 9000 ", "RYZE_HOST": "::1", "RYZE_UNKNOWN": "x", "PATH": "/bin"}
    settings = Settings.from_environ(environ, host="0.0.0.0")
    assert (settings.host, settings.port) == ("0.0.0.0", 9000)


def test_overrides_accept_plain_values(tmp_path: Path) -> None:
    settings = parse(
        port=0,
        data_dir=tmp_path,
        compression=True,
        drain_seconds=0.5,
        allowed_origins=("https://a.example", "*"),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        publish_rate_limit=limits.parse("5/second"),
        global_rate_limit=None,
        tls_cert=None,
    )
    assert (settings.port, settings.data_dir, settings.compression) == (0, tmp_path, True)
    assert (settings.drain_seconds, settings.tls_cert) == (0.5, None)
    assert settings.allowed_origins == ("https://a.example", "*")
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.publish_rate_limit == limits.parse("5/second")
    assert settings.global_rate_limit is None
    assert not parse(compression=False).compression


def test_unknown_override_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="prot"):
        parse(prot=1)


def test_empty_text_means_the_default_but_off_for_a_rate_limit() -> None:
    settings = Settings.from_environ({"RYZE_PORT": "", "RYZE_GLOBAL_RATE_LIMIT": " "})
    assert (settings.port, settings.global_rate_limit) == (8080, None)


def test_default_database_is_in_the_data_directory(tmp_path: Path) -> None:
    assert parse(data_dir=tmp_path).database_url == f"sqlite:///{tmp_path}/ryze.db"
    assert parse(data_dir=tmp_path, database_url="sqlite:///x").database_url == "sqlite:///x"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("host", "[::1]", "::1"),
        ("port", "65535", 65535),
        ("base_url", "https://events.example/ryze/", "https://events.example/ryze"),
        ("base_url", "http://[::1]:8080", "http://[::1]:8080"),
        (
            "allowed_origins",
            "https://A.example, http://b:81,",
            ("https://a.example", "http://b:81"),
        ),
        ("allowed_origins", "*", ("*",)),
        (
            "allowed_origins",
            "https://a:443,http://b:80,http://c:443,x://d:80",
            ("https://a", "http://b", "http://c:443", "x://d:80"),
        ),
        (
            "trusted_proxies",
            "127.0.0.1, 10.0.0.0/8,fd00::/8,",
            (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        ),
        ("compression", "ON", True),
        ("log_level", "DEBUG", "debug"),
        ("ping_interval_seconds", "0.5", 0.5),
        ("drain_seconds", "0", 0),
        ("encryption_key", KEY, KEY),
        ("account_token", "t" * 8, "t" * 8),
    ],
)
def test_valid_texts_are_parsed(name: str, text: str, value: object) -> None:
    assert getattr(parse(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("host", "two words"),
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("port", "80.5"),
        ("base_url", "events.example"),
        ("base_url", "ftp://events.example"),
        ("base_url", "https://"),
        ("base_url", "https://a?b=c"),
        ("base_url", "https://user@a"),
        ("base_url", "https://a b"),
        ("base_url", "https://a:99999"),
        ("base_url", "https://[::1"),
        ("database_url", "mysql://host/name"),
        ("database_url", "sqlite:///"),
        ("global_rate_limit", "many"),
        ("global_rate_limit", "100/minute;5/second"),
        ("global_rate_limit", "0/minute"),
        ("allowed_origins", "a.example"),
        ("allowed_origins", "https://a.example/path"),
        ("allowed_origins", "https://a:port"),
        ("allowed_origins", "https://*.example"),
        ("trusted_proxies", "proxy.example"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("trusted_proxies", "*"),
        ("client_buffer_messages", "0"),
        ("client_buffer_bytes", "0"),
        ("max_connections", "-1"),
        ("max_body_bytes", "32M"),
        ("max_header_bytes", "100"),
        ("ping_interval_seconds", "0"),
        ("ping_interval_seconds", "nan"),
        ("drain_seconds", "inf"),
        ("drain_seconds", "-1"),
        ("compression", "yes"),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_invalid_value_is_reported_with_its_variable(name: str, text: str) -> None:
    variable = f"RYZE_{name.upper()}"
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({variable: text})
    assert (caught.value.key, caught.value.value) == (variable, text)
    assert caught.value.expected
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("account_token", "short"),
        ("account_token", "with a space"),
        ("account_token", "t" * 256),
        ("account_token", "sécret-sécret"),
        ("encryption_key", "not base64!"),
        ("encryption_key", base64.b64encode(b"16 bytes of key.").decode()),
        ("encryption_key", "schlüssel"),
    ],
)
def test_invalid_secret_is_masked_in_the_error(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(**{name: text})
    assert caught.value.value == "***"
    assert text not in str(caught.value)
    assert caught.value.__suppress_context__


def test_secrets_are_masked_in_the_repr() -> None:
    settings = parse(
        account_token="secret-token",
        encryption_key=KEY,
        database_url="postgresql://ryze:pass@word@host/name?password=again",
    )
    shown = repr(settings)
    assert "account_token='***', encryption_key='***'" in shown
    assert "'postgresql://ryze:***@host/name?password=***'" in shown
    assert "port=8080" in shown
    assert not any(secret in shown for secret in ("secret-token", KEY, "@word", "again"))
    assert [row.name for row in all_settings() if row.show("text") == "***"] == [
        "account_token",
        "encryption_key",
    ]


def test_password_of_an_invalid_database_url_is_masked() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(database_url="mysql://user:secret@host/name")
    assert caught.value.value == "mysql://user:***@host/name"


@pytest.mark.parametrize("timeout", ["30", "10"])
def test_pong_timeout_must_exceed_the_ping_interval(timeout: str) -> None:
    with pytest.raises(SettingsError, match="more than RYZE_PING_INTERVAL_SECONDS, which is 30"):
        parse(pong_timeout_seconds=timeout)


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "TLS_KEY"), ("tls_key", "TLS_CERT")])
def test_certificate_and_key_require_each_other(given: str, missing: str) -> None:
    with pytest.raises(SettingsError, match=f"RYZE_{missing}=''.*because RYZE_{given.upper()}"):
        parse(**{given: "file.pem"})


def test_certificate_and_key_must_be_readable(tmp_path: Path) -> None:
    readable = tmp_path / "readable.pem"
    readable.write_text("PEM")
    assert parse(tls_cert=readable, tls_key=readable).tls_cert == readable
    with pytest.raises(SettingsError, match=r"RYZE_TLS_KEY.*readable file \(No such file"):
        parse(tls_cert=readable, tls_key=tmp_path / "missing.pem")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "localhost"),
        ("::", "localhost"),
        ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%25eth0]"),
        ("events.example", "events.example"),
    ],
)
def test_base_url_is_made_from_the_bound_address(host: str, shown: str) -> None:
    assert parse().with_address(host, 81).base_url == f"http://{shown}:81"


def test_base_url_is_https_with_tls(tmp_path: Path) -> None:
    settings = Settings(tls_cert=tmp_path, tls_key=tmp_path)
    assert settings.with_address("::", 443).base_url == "https://localhost:443"


def test_configured_base_url_stays() -> None:
    settings = parse(base_url="https://events.example")
    assert settings.with_address("127.0.0.1", 8080) is settings
