"""Files of several pages, frames or slices."""

from pathlib import Path


def choose_page(num_pages: int, page: int | None, path: str | Path) -> int:
    """Which page of a file is read, from 0 on.

    Raises ValueError where a file of several pages comes without a choice, or lacks the chosen one.
    """
    if not num_pages:
        raise ValueError(f'{path} is damaged: it holds no image; fetch or convert it again')
    if page is None:
        if num_pages == 1:
            return 0
        raise ValueError(
            f'{path} has {num_pages} pages (or frames, slices); set page=0 in `data` to read the '
            "first of each file, page='all' to read all as images of their own"
        )
    if not 0 <= page < num_pages:
        raise ValueError(f'{path} has {num_pages} pages, 0 to {num_pages - 1}, and not page {page}')
    return page
