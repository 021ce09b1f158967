"""A real browser and a real JupyterLab for the tests that look at pages as people do."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, headless, driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    quiet = ["disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"]
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", *(f"--{name}" for name in quiet)]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, request, tmp_path):
    """A fresh page; when a test fails, what it last showed is kept as a picture."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.screenshot(path=str(tmp_path / "last.png"))
    print(f"what the page last showed: {tmp_path / 'last.png'}")
    context.close()


@contextmanager
def jupyter_lab(folder: Path, home: Path, *, learner: bool) -> Iterator[str]:
    """Run JupyterLab on `folder` with a home of its own; yields its address with the token."""
    home.mkdir(parents=True, exist_ok=True)
    scripts = Path(sys.executable).parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")},
        "HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "OMP_NUM_THREADS": "1",
    }
    if learner:
        # What `make lab` does: instructors' panels are hidden.
        for name in ("formgrader", "create-assignment", "course-list"):
            disable = [
                scripts / "jupyter",
                "labextension",
                "disable",
                "--level=user",
                f"@jupyter/nbgrader:{name}",
            ]
            subprocess.run(disable, env=environment, check=True, capture_output=True, timeout=120)
    # A learner has answered JupyterLab's question about news long ago.
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    log = home / "lab.log"
    command = [
        scripts / "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
        "--ServerApp.port_retries=50", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield _address(home / "runtime", process, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _address(runtime: Path, process: subprocess.Popen, log: Path) -> str:
    for _ in range(240):
        assert process.poll() is None, f"JupyterLab ended: {log.read_text()[-3000:]}"
        for info in runtime.glob("jpserver-*.json"):
            text = info.read_text()
            if re.search(r'"token"', text):
                server = json.loads(text)
                address = f"http://127.0.0.1:{server['port']}"
                try:
                    urllib.request.urlopen(f"{address}/api?token={server['token']}", timeout=5)
                except OSError:
                    continue
                return f"{address}|{server['token']}"
        time.sleep(0.5)
    raise AssertionError(f"JupyterLab did not start: {log.read_text()[-3000:]}")
