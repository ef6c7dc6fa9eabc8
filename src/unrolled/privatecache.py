"""Keep what DVC caches to the user: its default is a folder outside the checkout that everybody may write to.

usage: python -m unrolled.privatecache

DVC reads its site cache with diskcache, which unpickles (CVE-2025-69872): who may write there runs code as whoever runs DVC. So
the site cache moves into ``.dvc``, and it, the cache and DVC's temporary files are for their owner only. `make install`,
`make run`, `unrolled repro` and the stage code, which comes first in every `dvc repro`, see to it.
"""

import re
import subprocess
from pathlib import Path

from unrolled.dvccommand import dvc_command, dvc_environment
from unrolled.errors import UserError
from unrolled.sidecar import main_checkout

SITE = ".dvc/site"
FOLDERS = (".dvc/cache", ".dvc/tmp", SITE)


def keep_private(root: Path) -> None:
    """Make DVC's folders in the checkout ``root`` 0700, and its site cache one of them unless the user chose another.

    A folder that is a link is shared on purpose and stays as it is. The copies in which DVC runs queued experiments lie in
    ``.dvc/tmp`` and take their configuration from the checkout.

    Raises:
        UserError: DVC cannot read or write its configuration.
    """
    if not (root / ".dvc").is_dir() or main_checkout(root) != root.resolve():
        return
    for folder in (root / name for name in FOLDERS):
        if not folder.is_symlink():
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
    site, local = root / SITE, root / ".dvc" / "config.local"
    found = re.search(r"^\s*site_cache_dir\s*=\s*(.+?)\s*$", local.read_text() if local.is_file() else "", re.MULTILINE)
    # An absolute path: DVC takes a relative one from wherever it is run. After the checkout has moved it is a stale one.
    if found and (found[1] == str(site) or not found[1].endswith(f"/{SITE}")):
        return
    command = dvc_command("config", "--local", "core.site_cache_dir", str(site))
    done = subprocess.run(command, cwd=root, env=dvc_environment(), capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"DVC cannot be given a private site cache: {' '.join(done.stderr.split())}")


def main() -> None:
    """Run the command."""
    from unrolled.checkout import project_root
    from unrolled.console import one_line_errors

    with one_line_errors():
        keep_private(project_root())


if __name__ == "__main__":
    main()
