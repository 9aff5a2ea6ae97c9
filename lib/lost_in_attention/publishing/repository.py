"""Links to the repository and the buttons that open a chapter on Binder or Colab.

All of them hang on one setting, `repository: url:` in book/_config.yml.  Without an address the
theme could make none of them, so they wait until there is one.
"""

from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """For Sphinx: settle what the theme offers before it reads its options."""

    def settle(_app, config) -> None:
        options = config.html_theme_options
        if options.get("repository_url"):
            options |= {"use_repository_button": True, "use_issues_button": True}
        else:
            options.pop("launch_buttons", None)

    app.connect("config-inited", settle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
