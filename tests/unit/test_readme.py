"""The README is true where a test can tell."""

from __future__ import annotations

from pathlib import Path

from gateway.settings.table import SETTINGS, markdown_table

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_setting_is_in_the_readme():
    """The settings table in the README is the one that the settings make."""
    assert markdown_table() in README


def test_no_setting_is_named_twice():
    """A variable belongs to one setting."""
    names = [name for setting in SETTINGS for name in setting.names]
    assert len(names) == len(set(names))
