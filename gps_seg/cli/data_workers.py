"""What an exception out of a data loader's worker process says."""

import re

# torch repeats the worker's whole traceback as the message of the exception that it raises here.
CAUGHT = re.compile(r'Caught (\w+) in [^\n]*\.\nOriginal Traceback')
FRAME = '  File "'
DIED = re.compile(r'DataLoader worker \(pid\(?s?\)?:? ?[\d, ]+\) (is killed|exited)')


def original_message(error: BaseException) -> tuple[str, str] | None:
    """The type and the message of an exception that a data worker raised; None for another one."""
    text = str(error.args[0]) if error.args else ''
    caught = CAUGHT.match(text)
    if caught is None:
        return None
    lines = text.splitlines()
    last = max((n for n, line in enumerate(lines) if line.startswith(FRAME)), default=0)
    # After the last frame come its code, indented, and then `package.Type: message`.
    end = next((n for n in range(last + 1, len(lines)) if not lines[n].startswith(' ')), last)
    message = '\n'.join(lines[end:])
    name = caught[1]
    message = re.sub(rf'^(?:\w+\.)*{name}(?::\s*|$)', '', message)
    return name, re.sub(r'^\[Errno \d+\] ', '', message)


def died(error: BaseException) -> bool:
    """Whether an exception says that a data worker ended without one."""
    return isinstance(error, RuntimeError) and DIED.search(str(error)) is not None
