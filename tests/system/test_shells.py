"""What is made from the tables of options for others: completions in real shells, manual pages by real readers."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from system.drive import BUSY, PYTHON, ROOT, TIMEOUT, ZOND, started, tool, zond

VERBS = re.findall(r"^  (\w+) ", zond("help").stdout.decode().split("\nExit status")[0], re.M)

COLUMNS_OF_MAN = {**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}


def form(name: str, *verb: str) -> str:
    done = zond("help", "--format", name, *verb)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


@pytest.mark.parametrize("words", [[], ["html"], ["html", "run"]], ids=str)
def test_wrong_form(words: list[str]) -> None:
    done = zond("help", "--format", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"zond: help --format takes one of man, bash, zsh, fish" in done.stderr


# Completions -------------------------------------------------------------------------------------------------

BASH = """\
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
compopt() { :; }
_zond
printf '%s\\n' "${COMPREPLY[@]}"
"""


def in_bash(folder: Path, line: str) -> list[str]:
    """What readline would offer; it breaks words at = as well."""
    (folder / ".script").write_text(form("bash"))
    words = [part for word in line.split(" ") for part in re.split(r"(?<=\w)(=)(?=.|$)", word) if part or not word]
    words = words[:-1] if words[-1:] == [""] and line.endswith("=") else words
    command = [tool("bash"), "--norc", "-c", BASH, "bash", str(folder / ".script"), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


# Notes what is offered to the completion system, by its name, when it is asked for the line in BUFFER.
ZSH = """\
PS1= PS2= HISTFILE= LISTMAX=100000000
fpath=($FOLDER/.functions $fpath)
autoload -Uz compinit
compinit -D -u
compadd() {
  local -a offered
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  builtin compadd -O offered "$@"
  print -rl -- $offered >>$FOLDER/.offered
  builtin compadd "$@"
}
finish() { zle expand-or-complete; : >$FOLDER/.done; exit }
zle -N finish
bindkey '^T' finish
: >$FOLDER/.ready
"""


def in_zsh(folder: Path, line: str) -> list[str]:
    functions = folder / ".functions"
    functions.mkdir(exist_ok=True)
    (functions / "_zond").write_text(form("zsh"))
    (folder / ".setup").write_text(ZSH)
    for name in (".offered", ".ready", ".done"):
        (folder / name).unlink(missing_ok=True)
    zsh = tool("zsh")
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.chdir(folder)
            os.environ.update(FOLDER=str(folder), TERM="xterm", ZDOTDIR=str(folder), LC_ALL="C.UTF-8")
            os.execv(zsh, [zsh, "-f", "-i"])
        finally:
            os._exit(126)
    os.write(terminal, b"source .setup\n")
    said = b""
    sent = False
    while not (folder / ".done").exists():
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the shell has ended
            break
        if not sent and (folder / ".ready").exists():
            os.write(terminal, line.encode() + b"\x14")
            sent = True
    os.close(terminal)
    os.waitpid(pid, 0)
    assert (folder / ".done").exists(), said.decode()
    offered = folder / ".offered"
    return offered.read_text().splitlines() if offered.exists() else []


def in_fish(folder: Path, line: str) -> list[str]:
    (folder / ".script").write_text(form("fish"))
    home = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config"), "LC_ALL": "C.UTF-8"}
    code = "source .script; complete -C $argv[1]"
    command = [tool("fish"), "--no-config", "-c", code, line]
    done = subprocess.run(command, cwd=folder, env=home, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stderr == ""
    return [found.split("\t")[0] for found in done.stdout.splitlines()]


SHELLS: dict[str, Callable[[Path, str], list[str]]] = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}


def offered(shell: str, folder: Path, line: str) -> set[str]:
    """Each bare: without a blank or = behind, and without the option before a value."""
    found = {re.sub(r"^--[\w-]+=(?=.)", "", word).rstrip(" =") for word in SHELLS[shell](folder, line)}
    last = line.split(" ")[-1].split("=")[-1]
    return {word for word in found if word.startswith(last)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("old.zond", "script.py", "other.txt", "with blank.zond"):
        (tmp_path / name).write_text("")
    return tmp_path


METRICS = {"wall", "cpu", "gil", "gc"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("zond ", {*VERBS, "help"}, {"--metric", "old.zond"}),
        ("zond re", {"report"}, {"run"}),
        ("zond help ", set(VERBS), {"help"}),
        ("zond run --met", {"--metric"}, set()),
        ("zond run --metric ", METRICS, {"script.py", "--json"}),
        ("zond run --metric=c", {"cpu"}, METRICS - {"cpu"}),
        ("zond run --metric=", METRICS, set()),
        ("zond run -q --metric=cpu --js", {"--json"}, set()),
        ("zond run -n 5 --metric cpu --js", {"--json"}, set()),
        ("zond run --js", {"--json"}, set()),
        ("zond doctor --", {"--help"}, {"--json", "--output"}),
        ("zond attach --py", set(), {"--python"}),
        ("zond run -o o", {"other.txt"}, set()),
        ("zond run --output=o", {"other.txt"}, set()),
        ("zond run s", {"script.py"}, set()),
        ("zond run -- s", {"script.py"}, set()),
        ("zond run -r 5 s", {"script.py"}, set()),
        ("zond run script.py o", {"other.txt"}, set()),
        ("zond run script.py --met", set(), {"--metric"}),
        ("zond run -- script.py --met", set(), {"--metric"}),
        ("zond report o", {"old.zond"}, {"other.txt"}),
        ("zond lines --json o", {"old.zond"}, {"other.txt"}),
        ("zond export -f ", {"collapsed", "speedscope"}, {"old.zond"}),
        ("zond export -f collapsed o", {"old.zond"}, {"other.txt"}),
        ("zond nonsense ", set(), {*VERBS, "--json"}),
    ],
)
def test_completion(folder: Path, shell: str, line: str, wanted: set[str], unwanted: set[str]) -> None:
    found = offered(shell, folder, line)
    assert wanted <= found
    assert not found & unwanted


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_offered(folder: Path, shell: str, verb: str) -> None:
    usage = zond(verb, "--help").stdout.decode().split("\nOptions:\n")[1].split("\nExamples:\n")[0]
    options = set(re.findall(r"^ {2,6}(?:-\w, )?(--[\w-]+)", usage, re.M))
    assert len(options) >= 1
    assert offered(shell, folder, f"zond {verb} --") == options


@pytest.mark.parametrize("shell", SHELLS)
def test_process_is_offered(folder: Path, shell: str) -> None:
    with started(PYTHON, "-c", BUSY, "60") as process:
        pid = str(process.pid)
        assert pid in offered(shell, folder, f"zond attach {pid[:-1]}")


# Manual pages --------------------------------------------------------------------------------------------------


def pages() -> Iterable[tuple[str, list[str]]]:
    return [("zond", []), *((f"zond-{verb}", [verb]) for verb in VERBS)]


PAGES = pytest.mark.parametrize(("name", "verb"), pages())


@pytest.fixture
def page(tmp_path: Path, name: str, verb: list[str]) -> Path:
    path = tmp_path / f"{name}.1"
    path.write_text(form("man", *verb))
    return path


@PAGES
def test_page_is_clean(page: Path, name: str, verb: list[str]) -> None:
    """Neither groff nor mandoc has a word against it."""
    for command in (
        [tool("man"), "-l", "--warnings=w", "-E", "UTF-8", "-Tutf8", "-Z", str(page)],
        [tool("mandoc"), "-Tlint", str(page)],
    ):
        done = subprocess.run(command, env=COLUMNS_OF_MAN, capture_output=True, text=True, check=False)
        said = done.stdout if command[1] == "-Tlint" else ""
        assert (done.returncode, said, done.stderr) == (0, "", ""), command


@PAGES
def test_page_says_what_the_help_says(page: Path, name: str, verb: list[str]) -> None:
    """All words of the help are on the page, in whatever layout."""
    command = [tool("mandoc"), "-Tascii", str(page)]
    done = subprocess.run(command, env=COLUMNS_OF_MAN, capture_output=True, text=True, check=True)
    shown = re.sub(r".\x08", "", done.stdout)
    assert shown.startswith(f"{name.upper()}(1)")
    usage = zond("help", *verb).stdout.decode()
    words = re.findall(r"[\w./'-]*\w", usage.split("Usage:")[1])
    missing = [word for word in words if word not in shown and word not in ("Options", "Examples", "Exit", "zond")]
    assert [word for word in missing if word.upper() not in shown] == []


# Places --------------------------------------------------------------------------------------------------------

PLACES = [
    "bash-completion/completions/zond.bash",
    "zsh/site-functions/_zond",
    "fish/vendor_completions.d/zond.fish",
    "man/man1/zond.1",
    *(f"man/man1/zond-{verb}.1" for verb in VERBS),
]


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The share folder of an installation: that of the program under test, or one that is made of its build."""
    prefix = Path(ZOND).parent.parent
    if Path(ZOND).parent.name == "bin":
        return prefix / "share"
    build = Path(ZOND).parent.parent.parent
    made = tmp_path_factory.mktemp("installed")
    command = [tool("meson"), "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", str(made)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    (share,) = made.glob("**/share")
    return share


@pytest.mark.parametrize("place", PLACES)
def test_installed(share: Path, place: str) -> None:
    """Each is where its reader looks, and says what the program says."""
    words = [] if place.endswith("/zond.1") else re.findall(r"zond-(\w+)\.1$", place)
    kind = "man" if place.startswith("man/") else place.split("/")[0].removesuffix("-completion")
    assert (share / place).read_text() == form(kind, *words)


def test_nothing_else_is_installed(share: Path) -> None:
    found = {str(path.relative_to(share)) for path in share.rglob("*zond*") if path.is_file()}
    assert found == set(PLACES)
