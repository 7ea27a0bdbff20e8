from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest
import requests

from airflow_provider_atai.emulator.__main__ import main


def test_command_prints_its_address_and_listens_on_loopback_only(start_emulator):
    emulator = start_emulator()
    assert re.fullmatch(r"ATAI emulator listening on http://127\.0\.0\.1:\d+/v0\.5", emulator.announcement)
    assert emulator.control.state()["base_url"] in emulator.announcement
    port = int(emulator.control.root_url.rpartition(":")[2])
    addresses = socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET, socket.SOCK_STREAM)
    for address in {entry[4][0] for entry in addresses if not str(entry[4][0]).startswith("127.")}:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://{address}:{port}/_emulator", timeout=5)


def test_command_takes_the_default_key(start_emulator):
    url = f"{start_emulator().control.base_url}/fine-tune/jobs"
    assert requests.get(url, headers={"Authorization": "Bearer sk_emulator"}, timeout=30).json() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_command_and_removes_the_temporary_folder(
    start_emulator, number, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    emulator = start_emulator()
    assert [path.name[:14] for path in tmp_path.iterdir()] == ["atai-emulator-"]
    assert emulator.end(number) == 0
    assert list(tmp_path.iterdir()) == []


def test_command_keeps_a_data_dir_that_it_created(start_emulator, tmp_path):
    data_dir = tmp_path / "new" / "folder"
    assert start_emulator(data_dir).end() == 0
    assert (data_dir / "emulator.sqlite3").is_file()


def test_port_in_use_is_reported_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "airflow_provider_atai.emulator", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"atai-emulator: cannot listen on 127.0.0.1:{port}: ")
    assert ended.stderr.count("\n") == 1


def test_data_dir_in_use_is_reported_in_one_line_and_left_alone(start_emulator, tmp_path, service):
    first = type(service)(start_emulator(tmp_path).control)
    first.upload()
    command = [sys.executable, "-m", "airflow_provider_atai.emulator", "--port", "0"]
    ended = subprocess.run(
        [*command, "--data-dir", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"atai-emulator: another emulator uses the data directory {tmp_path}\n"
    assert first("GET", "/files/download/train.jsonl").status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ["--time-scale", "0"],
        ["--time-scale", "-1"],
        ["--time-scale", "nan"],
        ["--time-scale", "1e300"],
        ["--port", "x"],
    ],
)
def test_senseless_arguments_are_refused(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("missing", ["uvicorn", "fastapi", "python_multipart"])
def test_missing_extra_is_reported_with_how_to_install_it(missing):
    code = (
        f"import sys; sys.modules['{missing}'] = None; "
        "from airflow_provider_atai.emulator.__main__ import main; sys.exit(main([]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "pip install 'airflow-provider-atai[emulator]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_stray_connection_does_not_disturb(start_emulator):
    control = start_emulator().control
    host, _, port = control.root_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert control.state()["jobs"] == {}
