"""A browser for tests of pages."""

import os
import shutil

import pytest

#: Nothing that speaks to the network on its own; root has no sandbox in Chromium.
_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # 3D without a graphics card
    "--enable-unsafe-swiftshader",
]


@pytest.fixture(scope="session")
def browser():
    """Chromium: the system's, else playwright's own; a skip where there is neither."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _no_browser("playwright is not installed: pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
    found = next((path for path in map(shutil.which, names) if path), None)
    arguments = list(_ARGUMENTS)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=found, args=arguments)
        except Error as error:
            reason = str(error).splitlines()[0]
            _no_browser(
                f"no browser could be started ({reason}): playwright install chromium "
                "(or, on Debian and Ubuntu, apt install chromium)"
            )
        yield chromium
        chromium.close()


def _no_browser(reason):
    """Skip, but fail where tests must not be left out."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
