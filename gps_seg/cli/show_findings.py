"""What a check found, in order and on the terminal."""

from collections.abc import Iterable, Sequence

from gps_seg.datasets.findings import Finding

LEVELS = ('error', 'warning', 'note')


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with the errors first."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def print_finding(finding: Finding) -> None:
    """Print one finding and its fix."""
    print(f'{finding.level:9}{finding.text}')
    if finding.fix:
        print(f'{"":9}-> {finding.fix}')


def exit_code(findings: Sequence[Finding]) -> int:
    """Print how many findings there are. Returns 1 where some of them are errors."""
    errors = sum(finding.level == 'error' for finding in findings)
    warnings = sum(finding.level == 'warning' for finding in findings)
    print(f'{errors} errors, {warnings} warnings' if errors + warnings else 'all is well')
    return 1 if errors else 0
