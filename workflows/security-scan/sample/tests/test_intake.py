import tarfile

import pytest

from intake import archive, report, settings


def test_settings_stand_over_the_defaults(tmp_path):
    file = tmp_path / "intake.yaml"
    file.write_text("keep_days: 7\n")
    assert settings.read(file) == {"folder": "inbox", "keep_days": 7}
    file.write_text("")
    assert settings.read(file) == {"folder": "inbox", "keep_days": 30}


def test_a_setting_that_is_not_known_is_refused(tmp_path):
    file = tmp_path / "intake.yaml"
    file.write_text("folders: x\n")
    with pytest.raises(ValueError, match="no such setting: folders"):
        settings.read(file)


def test_the_same_content_has_the_same_fingerprint(tmp_path):
    (tmp_path / "a").write_bytes(b"salve")
    (tmp_path / "b").write_bytes(b"salve")
    assert archive.fingerprint(tmp_path / "a") == archive.fingerprint(tmp_path / "b") == "d21a891233c1e4d010c92d60592138fd"


def test_an_archive_is_listed(tmp_path):
    for name in ["two.txt", "one.txt"]:
        (tmp_path / name).write_text(name)
    with tarfile.open(tmp_path / "in.tar", "w") as packed:
        for name in ["two.txt", "one.txt"]:
            packed.add(tmp_path / name, arcname=name)
    assert archive.names(tmp_path / "in.tar") == ["one.txt", "two.txt"]


def test_an_archive_that_is_none_is_an_error(tmp_path):
    with pytest.raises(Exception):
        archive.names(tmp_path / "absent.tar")


def test_a_report_is_written_and_removed():
    path = report.write([("a", 1), ("b", 2)])
    with open(path, encoding="utf-8") as file:
        assert file.read() == "a;1\nb;2\n"
    report.remove(path)
    report.remove(path)
