// A picture to show to a model.

import { ApiError, messageOf } from '../lib/api';

export interface Picture {
  name: string;
  file: Blob;
  /** Of the file in this page, until it is released. */
  url: string;
  width: number;
  height: number;
}

const TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/bmp'];

export const ACCEPT = TYPES.join(',');

/** Throws what to tell if the file is no picture that models see. */
export async function pictureOf(file: File): Promise<Picture> {
  if (!TYPES.includes(file.type)) {
    const kind = file.type.startsWith('image/') ? 'a kind of picture that models cannot see' : 'not a picture';
    throw new Error(`${file.name} is ${kind}. Choose a PNG, JPEG, GIF, WebP or BMP file.`);
  }
  const url = URL.createObjectURL(file);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`${file.name} cannot be opened as a picture. It may be damaged.`);
  }
  return { name: file.name, file, url, width: image.naturalWidth, height: image.naturalHeight };
}

export function release(picture: Picture | null) {
  if (picture) URL.revokeObjectURL(picture.url);
}

export function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(new Error('The picture cannot be read any more. Choose it again.'));
    reader.readAsDataURL(file);
  });
}

/** What to tell of a request with a picture that failed. */
export function failureOf(error: unknown): string {
  const message = messageOf(error);
  if (!(error instanceof ApiError && error.status === 413)) return message;
  const limit = /^image .*?(\d+ MB)/.exec(message)?.[1];
  return `This picture is too large${limit ? `: the server takes at most ${limit}` : ' for the server'}. Choose a smaller one.`;
}
