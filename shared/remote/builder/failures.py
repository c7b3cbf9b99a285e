"""Why an environment could not be made: a code for programs, and words for people."""

from __future__ import annotations

CODES = (
    "request_invalid",
    "package_name_invalid",
    "package_not_found",
    "version_not_found",
    "python_not_usable",
    "pins_contradict",
    "requirements_contradict",
    "index_unreachable",
    "install_failed",
    "disk_full",
    "not_permitted",
    "file_error",
    "time_limit",
    "interrupted",
    "wheel_name_invalid",
    "wheel_not_zip",
    "wheel_is_sdist",
    "wheel_name_differs",
    "wheel_too_large",
    "wheel_unsafe",
    "archive_name_invalid",
    "archive_unreadable",
    "archive_unsafe",
    "archive_top_folder_differs",
    "archive_too_large",
    "pixi_project_invalid",
    "pixi_failed",
    "manifest_missing",
    "manifest_ambiguous",
    "manifest_invalid",
    "manifest_executable_missing",
    "manifest_duplicate_task",
    "environment_not_found",
    "environment_incomplete",
    "freeze_differs",
    "builder_failed",
)


class Failure(Exception):  # noqa: N818 - says what it is
    """It ended, and nothing of it is left; `code` is one of CODES."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
