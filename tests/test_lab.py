"""`make lab`: a learner's JupyterLab, with nbgrader's Validate at work and the formgrader out of sight."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-for-this-test"
START = 60  # seconds that JupyterLab may take to answer on a busy machine

pytestmark = pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv"
    or subprocess.run(["make", "-q", ".venv/.ready-course"], cwd=ROOT, capture_output=True).returncode != 0,
    reason="needs a current .venv; `make test` makes it so",
)
Ask = Callable[..., str]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """A function that asks the server which `make lab` started; the server ends with the tests."""
    port = free_port()
    options = (
        f"--no-browser --allow-root --ServerApp.port={port} --ServerApp.port_retries=0 "
        f"--IdentityProvider.token={TOKEN}"
    )
    log = tmp_path_factory.mktemp("lab") / "log.txt"
    with log.open("w") as output:
        server = subprocess.Popen(
            ["make", "lab", f"LAB={options}"], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )

    def request(path: str, /, method: str = "GET", **query: str) -> str:
        url = f"http://127.0.0.1:{port}/{path}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"token {TOKEN}"}
        with urllib.request.urlopen(
            urllib.request.Request(url, method=method, headers=headers), timeout=120
        ) as answer:
            return str(answer.read().decode())

    try:
        deadline = time.monotonic() + START
        while True:
            try:
                request("api/status")
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.3)
        yield request
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_the_page_offers_validate_and_hides_what_is_for_instructors(ask: Ask) -> None:
    """nbgrader's extension is loaded; its plug-ins that only an instructor needs are off."""
    found = re.search(
        r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', ask("lab"), re.S
    )
    assert found
    config = json.loads(found[1])
    assert "@jupyter/nbgrader" in {extension["name"] for extension in config["federated_extensions"]}
    hidden = set(config["disabledExtensions"])
    assert {"@jupyter/nbgrader:formgrader", "@jupyter/nbgrader:create-assignment"} <= hidden
    assert (
        not {"@jupyter/nbgrader", "@jupyter/nbgrader:validate-assignment", "@jupyter/nbgrader:menu"} & hidden
    )


def test_the_file_browser_opens_on_the_lessons(ask: Ask) -> None:
    """The first thing that a learner sees is the numbered lessons."""
    names = {item["name"] for item in json.loads(ask("api/contents"))["content"]}
    assert names >= {path.name for path in (ROOT / "curriculum").iterdir() if path.is_dir()}
    assert "05_mlp_and_fgsm" in names


def test_pressing_validate_on_an_untouched_lesson_names_the_unwritten_code(ask: Ask) -> None:
    """The request behind the button runs the notebook and comes back with the first check's failure."""
    path = "05_mlp_and_fgsm/05_mlp_and_fgsm.ipynb"
    answer = json.loads(ask("assignments/validate", method="POST", path=path))
    assert answer["success"] is True, answer
    assert "NotImplementedError" in json.dumps(answer["value"]["failed"])
