"""Fetches targets as python-tuf does: read_repository.py ROOT URL OUT NOW NAME... prints `name sha256 custom`."""

import datetime
import hashlib
import json
import pathlib
import sys

from tuf.ngclient import Updater
from tuf.ngclient._internal import trusted_metadata_set

root, url, out, now, *names = sys.argv[1:]


class Then(datetime.datetime):
    """The moment of the tests."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromisoformat(now).astimezone(tz)


trusted_metadata_set.datetime.datetime = Then
out = pathlib.Path(out)
(out / "metadata").mkdir(parents=True)
updater = Updater(
    metadata_dir=str(out / "metadata"),
    metadata_base_url=url,
    target_dir=str(out),
    target_base_url=url + "/targets",
    bootstrap=pathlib.Path(root).read_bytes(),
)
updater.refresh()
for name in names:
    info = updater.get_targetinfo(name)
    if info is None:
        sys.exit(f"no target {name}")
    content = pathlib.Path(updater.download_target(info)).read_bytes()
    print(name, hashlib.sha256(content).hexdigest(), json.dumps(info.custom, sort_keys=True))
