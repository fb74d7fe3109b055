"""The licence texts of what is linked into the binaries, which their licences ask to be passed on.

usage: licenses.py TARGET, in the root of the repository. Prints one text: for each crate that the
release build links for TARGET its name, version, licence and the licence files that it comes with.
Fails for a crate that names no licence.
"""

import json
import pathlib
import subprocess
import sys


def cargo(*arguments: str) -> str:
    done = subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def main(target: str) -> None:
    # What is linked: not what only tests or build scripts use.
    tree = ["tree", "--workspace", "--locked", "--target", target, "--edges", "normal"]
    linked = {
        tuple(line.split()[:2])
        for line in cargo(*tree, "--prefix", "none", "--format", "{p}").splitlines()
        if line
    }
    metadata = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    for package in sorted(
        json.loads(cargo(*metadata))["packages"], key=lambda each: (each["name"], each["version"])
    ):
        if package["source"] is None or (package["name"], f"v{package['version']}") not in linked:
            continue
        if not (package["license"] or package["license_file"]):
            sys.exit(f"{package['name']} {package['version']} names no licence")
        print(f"{'=' * 80}\n{package['name']} {package['version']}: {package['license']}\n")
        folder = pathlib.Path(package["manifest_path"]).parent
        names = ("LICEN", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name.upper().startswith(names):
                print(f"--- {file.name}\n{file.read_text(errors='replace').rstrip()}\n")


if __name__ == "__main__":
    main(sys.argv[1])
