// Sorts a table by the column whose heading is clicked. Without scripts the page lacks only this.
document.documentElement.classList.add('scripts');
for (const table of document.querySelectorAll('table.sortable')) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener('click', () => {
      const upwards = heading.getAttribute('aria-sort') === 'descending';
      const key = (row) => {
        const cell = row.cells[column];
        return 'value' in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
      };
      const rows = [...table.tBodies[0].rows].sort((first, second) => {
        const [a, b] = [key(first), key(second)];
        if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1; // empty ones stay below
        const order = typeof a === 'number' ? a - b : a.localeCompare(b);
        return upwards ? order : -order;
      });
      headings.forEach((other) => other.removeAttribute('aria-sort'));
      heading.setAttribute('aria-sort', upwards ? 'ascending' : 'descending');
      table.tBodies[0].append(...rows);
    });
  });
}
