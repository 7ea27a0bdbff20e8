"""
Use the emulator through the vendor's own client, and print what came of it as JSON.

It runs in that client's environment, so it imports nothing of this project: ``python THIS URL KEY FOLDER``.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from archetypeai.api_client import ArchetypeAI  # type: ignore[import-not-found]

root_url, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
client = ArchetypeAI(key, api_endpoint=f"{root_url}/api")
local = client.files.local
seen: dict[str, object] = {"version": client.get_version()}

sample = folder / "sample.csv"
sample.write_bytes(b"time,flow\n0,1.5\n1,2.5\n")
seen["proxy"] = local.upload(str(sample))
seen["proxy_again"] = local.upload(str(sample))
seen["base64"] = local.upload(str(folder / "note.txt"), base64_data=base64.b64encode(b"a note").decode())

lines = folder / "lines.jsonl"
lines.write_bytes(b"".join(b'{"line": %d}\n' % number for number in range(2000)))
progress: list[tuple[int, int, int, int]] = []
seen["direct"] = local.upload(
    str(lines), use_proxy=False, on_progress=lambda *numbers: progress.append(numbers), allow_resume=True
)
seen["progress"] = progress
try:
    local.upload(str(lines), use_proxy=False)
except Exception as error:
    seen["direct_again"] = f"{type(error).__name__}: {error}"

seen["ids"] = [record["file_id"] for record in client.files.iter_metadata(limit=2)]
seen["metadata"] = client.files.get_metadata(file_id="lines.jsonl")
seen["info"] = client.files.get_info()
for name, source in (("sample.csv", sample), ("lines.jsonl", lines)):
    target = folder / f"downloaded-{name}"
    seen[f"download {name}"] = (
        local.download(name, str(target)) and target.read_bytes() == source.read_bytes()
    )
seen["deleted"] = [local.delete(name)["file_id"] for name in ("sample.csv", "note.txt", "lines.jsonl")]
seen["left"] = client.files.get_metadata()["data"]
try:
    local.delete("sample.csv")
except Exception as error:
    seen["deleted_again"] = f"{type(error).__name__}: {error}"
sys.stdout.write(json.dumps(seen))
