
/* Matrices: the pair that is pointed at, by its names and its value. */
{
  const pair = document.createElement("div");
  pair.id = "pair";
  pair.hidden = true;
  pair.setAttribute("role", "status");
  document.body.append(pair);

  const unpacked = async (id) => {
    const text = atob(document.getElementById(id).textContent);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };

  /* Without a direction, only one of two triangles is stored: row by row, from the diagonal on. */
  const valueOf = ({ names, directed, values }, row, column) => {
    const [a, b] = directed || row < column ? [row, column] : [column, row];
    return values[directed ? a * names.length + b : a * names.length - (a * (a - 1)) / 2 + b - a];
  };

  for (const matrix of document.querySelectorAll(".matrix")) {
    const drawing = matrix.querySelector("svg");
    const cells = drawing.querySelector(".cells");
    const cross = drawing.querySelector(".cross");
    if (typeof DecompressionStream === "undefined" || !document.getElementById(matrix.dataset.values)) continue;
    let content = null;
    let at = null;
    let turn = 0; // what was asked for before the values were there is not shown any more

    const hide = () => {
      turn += 1;
      at = null;
      pair.hidden = true;
      cross.setAttribute("d", "");
    };
    const show = async (cellOf) => {
      turn += 1;
      const own = turn;
      content ??= unpacked(matrix.dataset.values);
      const found = await content;
      if (turn !== own) return;
      const { names, directed } = found;
      const n = names.length;
      at = cellOf(n).map((number) => Math.max(0, Math.min(n - 1, number)));
      const [row, column] = at;
      const value = valueOf(found, row, column);
      const said = value === null ? "n/a" : value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
      pair.textContent = `${names[row]} ${directed ? "→" : "–"} ${names[column]}: ${said}`;
      pair.hidden = false;
      const [x, y, side] = ["x", "y", "width"].map((key) => Number(cells.getAttribute(key)));
      const [left, top, step] = [x + (column * side) / n, y + (row * side) / n, side / n];
      cross.setAttribute("d", `M${x} ${top}H${x + side}M${x} ${top + step}H${x + side}`
        + `M${left} ${y}V${y + side}M${left + step} ${y}V${y + side}`);
      const place = cells.getBoundingClientRect();
      const middle = place.x + ((column + 0.5) * place.width) / n - pair.offsetWidth / 2;
      const above = place.y + (row * place.height) / n - pair.offsetHeight - 8;
      pair.style.left = `${Math.max(4, Math.min(middle, innerWidth - pair.offsetWidth - 4))}px`;
      pair.style.top = `${Math.max(4, above)}px`;
    };
    const pointed = (event) => {
      const place = cells.getBoundingClientRect();
      const [across, down] = [(event.clientX - place.x) / place.width, (event.clientY - place.y) / place.height];
      show((n) => [Math.floor(down * n), Math.floor(across * n)]);
    };
    cells.addEventListener("pointermove", pointed);
    cells.addEventListener("pointerdown", pointed);
    cells.addEventListener("pointerleave", hide);
    drawing.addEventListener("blur", hide);
    drawing.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show(() => (at ? [at[0] + step[0], at[1] + step[1]] : [0, 0]));
    });
  }
}
