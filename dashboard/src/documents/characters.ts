// Positions in texts. The server counts characters (code points), strings of JavaScript count UTF-16 units.

/** Indexes in the string of characters, which are in ascending order. */
export function unitsOf(text: string, ...characters: number[]): number[] {
  const units: number[] = [];
  let passed = 0;
  let offset = 0;
  for (const character of characters) {
    for (; passed < character && offset < text.length; passed++) offset += text.codePointAt(offset)! > 0xffff ? 2 : 1;
    units.push(offset);
  }
  return units;
}

/** Moves a position back to where a character begins. */
export function boundary(text: string, unit: number): number {
  const code = text.charCodeAt(unit);
  return unit > 0 && code >= 0xdc00 && code <= 0xdfff ? unit - 1 : unit;
}
