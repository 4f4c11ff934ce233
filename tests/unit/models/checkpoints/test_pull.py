"""The hub is asked only when that is allowed; a real server on this machine stands in for it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import callosum
from callosum.core.digest import digest_bytes
from callosum.core.errors import MissingDependency, UsageError
from callosum.models.checkpoints.convert import convert
from callosum.models.checkpoints.home import imported
from callosum.models.checkpoints.install import Import
from callosum.models.checkpoints.pull import pull_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "hf-hub:lab/tiny"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for: a repository's files, and each of them."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def _answer(self, *, has_body: bool) -> None:
        self.asked.append(self.path)
        path = self.path.split("?")[0]
        names = sorted(each.name for each in self.folder.iterdir())
        if path.startswith("/api/models/lab/tiny"):
            files = [{"rfilename": name} for name in [*names, "training/optimizer.bin", ".gitattributes"]]
            body = json.dumps({"id": "lab/tiny", "sha": COMMIT, "siblings": files}).encode()
            self._send(200, body, has_body=has_body, kind="application/json")
        elif path.startswith(f"/lab/tiny/resolve/{COMMIT}/") and path.rsplit("/", 1)[1] in names:
            self._send(200, (self.folder / path.rsplit("/", 1)[1]).read_bytes(), has_body=has_body)
        else:
            self._send(404, b"{}", has_body=has_body, error="RepoNotFound")

    def _send(self, status: int, body: bytes, *, has_body: bool, kind: str = "text/plain", error: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": len(body), "X-Repo-Commit": COMMIT}
        for key, value in {**headers, "ETag": f'"{digest_bytes(body)}"'}.items():
            self.send_header(key, str(value))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(biomed: Path) -> Iterator[tuple[str, type[Hub]]]:
    kind = type("Hub", (Hub,), {"folder": biomed, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    thread.join()
    server.server_close()


def pull(*arguments: str, endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command as a user types it, in a process of its own: the client reads its endpoint when it is imported."""
    pytest.importorskip("huggingface_hub")
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "*", "no_proxy": "*"}
    environment = {**environment, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "3"}
    command = [sys.executable, "-m", "callosum", "model", "pull", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_model_is_pulled_once_when_that_is_allowed(
    hub: tuple[str, type[Hub]], biomed: Path, tmp_path: Path, home: Path
) -> None:
    endpoint, server = hub
    done = pull(NAME, endpoint=endpoint, cache=tmp_path)
    assert done.returncode == 2
    assert "--allow-network" in done.stderr
    assert server.asked == []
    done = pull(NAME, "--allow-network", "--json", endpoint=endpoint, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["source"] == f"{NAME}@{COMMIT}"
    fetched = {path.rsplit("/", 1)[1] for path in server.asked if "/resolve/" in path}
    assert fetched == {"open_clip_model.safetensors", "open_clip_config.json", "config.json", "vocab.txt"}
    assert {path.name for path in home.iterdir()} - {".lock"} == {card["name"]}
    expected = convert(biomed).space
    for name in (card["name"], NAME, f"{NAME}@{COMMIT}"):
        assert callosum.load_encoder(name).space == expected


def test_what_the_hub_does_not_have(hub: tuple[str, type[Hub]], tmp_path: Path) -> None:
    endpoint, _ = hub
    done = pull("hf-hub:lab/other", "--allow-network", endpoint=endpoint, cache=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "no model that may be fetched" in done.stderr
    assert imported() == {}
    done = pull(NAME, "--allow-network", endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "could not be reached" in done.stderr
    assert imported() == {}


def test_names_and_the_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    what = Import(path=Path())
    for name in ("hf-hub:", "hf-hub:a", "hf-hub:a/b/c", "hf-hub:/b", "medclip", "https://example.org/a"):
        with pytest.raises(UsageError, match=r"hf-hub:ORG/REPO, or one of: biomedclip"):
            pull_model(name, what, allows_network=True)
    with pytest.raises(UsageError, match="--allow-network"):
        pull_model("biomedclip", what, allows_network=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match=r"callosum\[hub\]"):
        pull_model("biomedclip", what, allows_network=True)
