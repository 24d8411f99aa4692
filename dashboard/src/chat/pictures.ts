// Pictures to send with a message.

export interface Picture {
  name: string;
  type: string;
  base64: string;
}

export const TYPES = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/bmp'];

export function addressOf({ type, base64 }: Picture): string {
  return `data:${type};base64,${base64}`;
}

/** The files that are pictures, and the names of those that are not. */
export async function picturesOf(files: Iterable<File>): Promise<{ pictures: Picture[]; refused: string[] }> {
  const all = [...files];
  const refused = all.filter((file) => !TYPES.includes(file.type)).map((file) => file.name);
  const pictures = await Promise.all(all.filter((file) => TYPES.includes(file.type)).map(pictureOf));
  return { pictures, refused };
}

async function pictureOf(file: File): Promise<Picture> {
  const address = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error(`${file.name} could not be read.`));
    reader.readAsDataURL(file);
  });
  return { name: file.name, type: file.type, base64: address.slice(address.indexOf(',') + 1) };
}

/** A picture for those who have none at hand. */
export function drawnPicture(): Picture {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 512;
  const context = canvas.getContext('2d')!;
  context.fillStyle = 'white';
  context.fillRect(0, 0, 512, 512);
  context.fillStyle = 'red';
  context.beginPath();
  context.arc(256, 256, 150, 0, 2 * Math.PI);
  context.fill();
  return { name: 'circle.png', type: 'image/png', base64: canvas.toDataURL('image/png').split(',')[1]! };
}
