"""`minio-gw completion bash|zsh|fish`: a script that completes the words of the parser, generated from the parser itself. Pure.

What follows a flag that takes a value is completed with files; what a gateway knows (users, policies) is not asked for: completing
a line must not need credentials, nor call anybody.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

PROGRAM = "minio-gw"


@dataclass(frozen=True)
class Place:
    """What may follow after some words: commands with what they do, flags, flags that take a value, whether a file may stand here."""

    path: tuple[str, ...]
    commands: Mapping[str, str]
    flags: Mapping[str, str]
    valued: frozenset[str]
    files: bool


def places(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Place]:
    """Yield every place of a parser and of what is under it; second names of commands are not offered, but followed."""
    flags: dict[str, str] = {}
    choices: dict[str, str] = {}
    valued: set[str] = set()
    files = False
    subs: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            subs = dict(action.choices)
            choices = {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001 - as above
        elif action.option_strings:
            flags |= dict.fromkeys(action.option_strings, action.help or "")
            valued |= set(action.option_strings) if action.nargs is None else set()
        else:
            files = files or action.metavar in {"FILE", "DIR"}
    flags = {flag: text for flag, text in flags.items() if text != argparse.SUPPRESS}
    yield Place(
        path,
        {name.split(" ")[0]: text for name, text in choices.items()},
        flags,
        frozenset(valued & flags.keys()),
        files,
    )
    for name, sub in subs.items():
        yield from places(sub, (*path, name))


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for a shell: `bash`, `zsh` or `fish`."""
    return _SCRIPTS[shell](list(places(parser)))


def _bash(found: list[Place]) -> str:
    return f"""# bash completion of {PROGRAM}; in ~/.bashrc: eval "$({PROGRAM} completion bash)"
_minio_gw() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" path="" commands="" flags="" valued="" files="" others="" word i
    COMPREPLY=()
    _minio_gw_place "$path"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${{COMP_WORDS[i]}}"
        case " $commands $others " in *" $word "*) path="$path $word"; _minio_gw_place "$path" ;; esac
    done
    case " $valued " in *" $prev "*) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
    case "$cur" in
        -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -W "$commands" -- "$cur"))
           if [ -n "$files" ]; then COMPREPLY+=($(compgen -f -- "$cur")); fi ;;
    esac
}}
{_cases(found)}
complete -o filenames -F _minio_gw {PROGRAM}
"""


def _zsh(found: list[Place]) -> str:
    return f"""#compdef {PROGRAM}
# zsh completion of {PROGRAM}; in ~/.zshrc, after compinit: eval "$({PROGRAM} completion zsh)"
_minio_gw() {{
    local path_="" commands="" others="" flags="" valued="" files="" word i
    _minio_gw_place ""
    for ((i = 2; i < CURRENT; i++)); do
        word="${{words[i]}}"
        case " $commands $others " in *" $word "*) path_="$path_ $word"; _minio_gw_place "$path_" ;; esac
    done
    case " $valued " in *" ${{words[CURRENT-1]}} "*) _files; return ;; esac
    case "${{words[CURRENT]}}" in
        -*) compadd -- ${{=flags}} ;;
        *) compadd -- ${{=commands}}
           if [ -n "$files" ]; then _files; fi ;;
    esac
}}
{_cases(found)}
(( $+functions[compdef] )) && compdef _minio_gw {PROGRAM}
"""


def _cases(found: list[Place]) -> str:
    """Return a function of the shell that says what may follow after a path."""
    lines = []
    for place in found:
        others = sorted(
            {one.path[-1] for one in found if one.path[:-1] == place.path and one.path} - place.commands.keys()
        )
        path = "".join(f" {word}" for word in place.path)
        lines.append(
            f"        {shlex.quote(path)}) commands={_words(place.commands)} others={_words(others)} flags={_words(place.flags)} "
            f"valued={_words(sorted(place.valued))} files={'1' if place.files else ''} ;;"
        )
    cases = "\n".join(lines)
    return f'_minio_gw_place() {{\n    case "$1" in\n{cases}\n    esac\n}}'


def _words(words: Mapping[str, str] | list[str]) -> str:
    return shlex.quote(" ".join(words))


def _fish(found: list[Place]) -> str:
    lines = [
        f"# fish completion of {PROGRAM}; in ~/.config/fish/config.fish: {PROGRAM} completion fish | source",
        "function __minio_gw_at",
        "    set -l words (commandline -opc)",
        "    set -l path",
        "    for word in $words[2..-1]",
        '        contains -- "$path $word" $argv[2..-1]; or contains -- "$path $word" $__minio_gw_paths; and set path "$path $word"',
        "    end",
        '    test "$path" = "$argv[1]"',
        "end",
        "set -g __minio_gw_paths " + " ".join(shlex.quote(_path(place)) for place in found if place.path),
        f"complete -c {PROGRAM} -f",
    ]  # fmt: skip
    for place in found:
        at = f"complete -c {PROGRAM} -n {_fish_quote(f'__minio_gw_at {_fish_quote(_path(place))}')}"
        lines += [f"{at} -a {_fish_quote(name)} -d {_fish_quote(text)}" for name, text in place.commands.items()]
        lines += [_fish_flag(at, flag, text, valued=flag in place.valued) for flag, text in place.flags.items()]
        lines += [f"{at} -F"] if place.files else []
    return "\n".join(lines) + "\n"


def _fish_flag(at: str, flag: str, text: str, *, valued: bool) -> str:
    kind = "-l" if flag.startswith("--") else "-s"
    return f"{at} {kind} {flag.lstrip('-')}{' -r -F' if valued else ''} -d {_fish_quote(text)}"


def _path(place: Place) -> str:
    return "".join(f" {word}" for word in place.path)


def _fish_quote(text: str) -> str:
    """Quote for fish: within single quotes only these two are special (fishshell.com/docs/current/language.html#quotes)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS: Mapping[str, Callable[[list[Place]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
SHELLS = tuple(_SCRIPTS)
