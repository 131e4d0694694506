"""Write docs/methods.md: a card for each method, from its docstring and what was counted of it.

    python -m tools.make_methods_doc

The costs come from docs/method_costs.json (tools/benchmarks/method_costs.py), what goes with what
from gps_seg/methods/support.py, which the contract tests hold. A test compares the page with this.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from gps_seg.files import write_content
from gps_seg.methods import METHODS, CostBudget, Where, support
from gps_seg.methods.late import late_parts
from gps_seg.methods.parts import PARTS, part_names
from gps_seg.methods.select import Select
from gps_seg.methods.whole_tensors import WholeTensors
from gps_seg.selection import CRITERIA, GRANULARITIES
from tools.benchmarks.method_costs import COSTS, MEASURED

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'methods.md'
# The order of the page: reference points, selections, added modules, the rest.
ORDER = (
    *('full', 'linear', 'bias', 'norm', 'last_k_blocks'),
    *('gps', 'fps', 'grft', 'magnitude', 'random', 'select'),
    *('lora', 'adapter', 'ssf', 'vpt_shallow', 'vpt_deep', 'spt_lora', 'spt_adapter'),
    *('sam_adapter', 'peft'),
)
# As configs write them, where that is no mere capital.
SPELLED = {
    **{name: name.upper() for name in ('gps', 'fps', 'grft', 'ssf', 'peft')},
    'last_k_blocks': 'LastKBlocks',
    'lora': 'LoRA',
    'sam_adapter': 'SAMAdapter',
    'spt_adapter': 'SPTAdapter',
    'spt_lora': 'SPTLoRA',
    'vpt_deep': 'VPTDeep',
    'vpt_shallow': 'VPTShallow',
}
MERGES = ('lora', 'ssf', 'spt_lora')
# Settings of a shared class that its presets fix.
FIXED = ('deep', 'structure')
ADDS = (
    *('lora', 'adapter', 'ssf', 'vpt_shallow', 'vpt_deep', 'spt_lora', 'spt_adapter'),
    *('sam_adapter', 'peft'),
)
INTRO = """<!-- Written by `python -m tools.make_methods_doc` from the docstrings; edit those. -->

# The methods

Each is one line of a config, `method=dict(type='GPS', k=1)` of the `FineTuneHook`, or one word in
Python, `gps_seg.tune(model, loader, method='gps', k=1)`. Trained whole besides, by every method,
are the head (for SAM: the mask decoder) and what no weight file filled.

Every method can be undone; every one but `peft` keeps the stock keys and has a delta. One that adds
modules stores these alone in its delta; `merge()` writes them into the weights where a change is
one of these, so that a prediction costs what the stock model does; others are computed beside it.

In the cards, what stands in brackets is the default. What several cards speak of, such as criteria
and what is trained whole, is explained [below them](#settings-that-several-share).
"""
# What the docstrings name, and the section of the page that explains it.
EXPLAINED = {
    'CRITERIA': 'criteria',
    'GRANULARITIES': 'granularities',
    '`CostBudget`': 'costbudget',
    '`Select`': 'select',
    '`Where`': 'where',
    '`WholeTensors`': 'wholetensors',
    '`late_parts`': 'late_parts',
    '`part_names`': 'part_names',
}
REFUSALS = """Refused pairs are an error in these words; VPT-Shallow is refused by MMSegmentation's
own ViT as well, whose heads read blocks in the middle. SAM stands for `SAMSegmentor` of every size
and number of classes. What is not in the table (other models of timm and MMSegmentation, an own
model) is tried as it comes: a method that finds no place for itself says so before it changes
anything.
"""


def page() -> str:
    """The whole page."""
    assert set(ORDER) == METHODS.keys(), 'ORDER must name every method'
    costs = json.loads(COSTS.read_text(encoding='utf-8'))
    cards = [card(name, METHODS[name], costs['rows']) for name in ORDER]
    shared = [
        catalogue('Criteria', 'How much an entry matters:', CRITERIA),
        catalogue('Granularities', 'Which entries are taken by their scores:', GRANULARITIES),
        shared_card(Where),
        shared_card(late_parts),
        shared_card(CostBudget),
        shared_card(part_names),
        'PARTS are:\n',
        *_settings({name: _summary(part) for name, part in PARTS.items()}),
        shared_card(WholeTensors),
    ]
    parts = [INTRO, '## Which goes with which model\n', *support_table(), REFUSALS]
    parts += ['## What a step costs\n', *cost_table(costs), *cards]
    parts += ['## Settings that several share\n', *shared]
    text = '\n'.join(parts)
    for name, anchor in EXPLAINED.items():
        text = text.replace(name, f'[{name}](#{anchor})')
    return re.sub(r'\n{3,}', '\n\n', text).rstrip() + '\n'


def support_table() -> Iterator[str]:
    """A row a method; a mark where it works, a number where it is refused, with the reasons."""
    reasons = list(dict.fromkeys(support.REFUSED.values()))
    yield '| method | ' + ' | '.join(support.MODELS.values()) + ' |'
    yield '|---' * (1 + len(support.MODELS)) + '|'
    for name in ORDER:
        cells = [
            f'({reasons.index(support.REFUSED[name, family]) + 1})'
            if (name, family) in support.REFUSED
            else 'yes'
            for family in support.MODELS
        ]
        yield f'| [`{name}`](#{name}) | ' + ' | '.join(cells) + ' |'
    yield ''
    for number, reason in enumerate(reasons, start=1):
        yield f'{number}. "... {reason} ..."'
    yield ''


def cost_table(costs: Mapping[str, Any]) -> Iterator[str]:
    """What was counted of all methods in one table."""
    versions = ', '.join(f'{name} {number}' for name, number in costs['versions'].items())
    yield (
        f'Counted, not timed, by `{costs["command"]}` ({versions}): {costs["model"]}. Forward is '
        'also what a prediction costs, before a merge. Kept: what autograd keeps for backward, '
        'parameters excluded. Times, on a quiet machine: `gps-seg bench run cost`.\n'
    )
    names = ('trained', 'forward GFLOP', 'backward GFLOP', 'kept MiB', 'Adam MiB', 'delta MB')
    yield f'| method | row | {" | ".join(names)} |'
    yield '|---' * 8 + '|'
    for name, row, counts in cost_rows(costs['rows']):
        yield f'| [`{name}`](#{name}) | {row} | ' + ' | '.join(_figures(counts)) + ' |'
    yield ''


def cost_rows(rows: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Method, row and counts, in the order of the page."""
    for name in ORDER:
        for row in MEASURED.get(name, ()):
            yield name, row, rows[row]


def _figures(counts: Mapping[str, Any]) -> list[str]:
    return [
        f'{counts["trainable"]:,}',
        f'{counts["forward_gflop"]:.2f}',
        f'{counts["backward_gflop"]:.2f}',
        f'{counts["saved_mib"]:.1f}',
        f'{counts["optimizer_bytes"] / 2**20:.1f}',
        f'{counts["delta_bytes"] / 1e6:.2f}',
    ]


def card(name: str, method: Callable[..., Any], rows: Mapping[str, Any]) -> str:
    """What it trains, paper, equation, settings, cost and models."""
    prose, settings = parsed(method)
    lines = [f'## {name}\n', f"`dict(type='{SPELLED.get(name, name.capitalize())}', ...)`\n", prose]
    lines += _settings(settings)
    base = _described_by(method)
    if base is not None:
        more_prose, more = parsed(base)
        lines += [
            more_prose,
            *_settings({k: v for k, v in more.items() if k not in settings and k not in FIXED}),
        ]
    lines.append(_in_use(name))
    refused = [support.MODELS[f] for m, f in support.REFUSED if m == name]
    lines.append(f'\nRefused by: {", ".join(refused)}.' if refused else '')
    lines.append(_papers(inspect.getdoc(method) or '', inspect.getdoc(base) if base else ''))
    return '\n'.join(lines)


def shared_card(thing: Callable[..., Any]) -> str:
    """What several cards name, with its settings."""
    prose, settings = parsed(thing)
    # Not what Python alone is to know.
    prose = re.split(r'^(?:Raises|>>>) ', prose, flags=re.MULTILINE)[0]
    return '\n'.join([f'### {thing.__name__}\n', prose, *_settings(settings)])


def catalogue(title: str, words: str, entries: Mapping[str, Callable[..., Any]]) -> str:
    """The entries that a setting chooses from."""
    lines = _settings({name: _summary(entry) for name, entry in entries.items()})
    return '\n'.join([f'### {title}\n', f'{words}\n', *lines])


def _summary(thing: Callable[..., Any]) -> str:
    """The first paragraph of a docstring; of a part of a model, what it has the names of."""
    first = ' '.join((inspect.getdoc(thing) or '').split('\n\n')[0].split())
    return first.removeprefix('Names of ')


def parsed(thing: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The prose of a docstring, and its settings with what is said of each."""
    prose: list[str] = []
    settings: dict[str, str] = {}
    current = ''
    known = set(inspect.signature(thing).parameters) | {'rest'}
    for line in (inspect.getdoc(thing) or '').splitlines():
        start = re.match(r'(\w+(?:, \w+)*): (.*)', line)
        if start and set(start[1].split(', ')) <= known:
            current = start[1]
            settings[current] = start[2]
        elif current and line.startswith('    '):
            settings[current] += ' ' + line.strip()
        else:
            current = ''
            prose.append(line)
    return '\n'.join(prose).strip() + '\n', {
        names: f'{text}{_default(thing, names)}' for names, text in settings.items()
    }


def _default(thing: Any, names: str) -> str:
    values = [_default_of(thing, name) for name in names.split(', ')]
    told = [repr(value) for value in values if value is not MISSING]
    return f' [{", ".join(told)}]' if told else ''


def _default_of(thing: Any, name: str) -> Any:
    if is_dataclass(thing):
        setting = next((field for field in fields(thing) if field.name == name), None)
        if setting is None or setting.default_factory is not MISSING:
            return MISSING
        return setting.default
    parameter = inspect.signature(thing).parameters.get(name)
    has_default = parameter is not None and parameter.default is not parameter.empty
    return parameter.default if parameter is not None and has_default else MISSING


def _settings(settings: Mapping[str, str]) -> list[str]:
    lines = [f'- `{names}`: {text}' for names, text in settings.items()]
    return [*lines, ''] if lines else []


def _described_by(method: Any) -> Any:
    """The class that a preset returns, where no other card describes it."""
    made = inspect.signature(method).return_annotation if inspect.isfunction(method) else None
    return None if made in (None, Select, WholeTensors) else made


def _in_use(name: str) -> str:
    if name not in ADDS:
        return 'At inference: the stock model, at no further cost.'
    if name == 'peft':
        return 'At inference: merged by `merge()` where PEFT can, else computed beside the weights.'
    if name in MERGES:
        return 'At inference: merged into the weights (`merge()`), at no further cost.'
    return 'At inference: its modules are computed beside the stock ones; it cannot be merged.'


def _papers(*texts: str | None) -> str:
    numbers = dict.fromkeys(
        n for text in texts for n in re.findall(r'arXiv:(\d{4}\.\d{5})', text or '')
    )
    links = [f'[arXiv:{number}](https://arxiv.org/abs/{number})' for number in numbers]
    return f'\nPapers: {", ".join(links)}.\n' if links else ''


if __name__ == '__main__':
    write_content(PAGE, page())
    print(PAGE)
