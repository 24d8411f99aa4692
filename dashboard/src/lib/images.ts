// Image files for models.

import { ApiError, messageOf } from './api';

export interface ImageFile {
  name: string;
  dataUrl: string;
  width: number;
  height: number;
}

export const IMAGE_TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/bmp'];

/** Reads an image. Throws a message for the user if models cannot see it. */
export async function imageOf(file: File): Promise<ImageFile> {
  if (!IMAGE_TYPES.includes(file.type)) {
    const kind = file.type.startsWith('image/') ? 'a kind of image that models cannot see' : 'not an image';
    throw new Error(`${file.name} is ${kind}. Choose a PNG, JPEG, GIF, WebP or BMP file.`);
  }
  const dataUrl = await dataUrlOf(file);
  const image = new Image();
  image.src = dataUrl;
  try {
    await image.decode();
  } catch {
    throw new Error(`${file.name} cannot be opened as an image. It may be damaged.`);
  }
  return { name: file.name, dataUrl, width: image.naturalWidth, height: image.naturalHeight };
}

/** Reads images, and collects the messages of those that models cannot see. */
export async function imagesOf(files: File[]): Promise<{ images: ImageFile[]; failures: string[] }> {
  const results = await Promise.allSettled(files.map(imageOf));
  return {
    images: results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])),
    failures: results.flatMap((result) => (result.status === 'rejected' ? [messageOf(result.reason)] : [])),
  };
}

function dataUrlOf(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(new Error(`${file.name} could not be read.`));
    reader.readAsDataURL(file);
  });
}

/** The file in base64, as the API takes it. */
export function base64Of({ dataUrl }: ImageFile): string {
  return dataUrl.slice(dataUrl.indexOf(',') + 1);
}

/** Size of the file in bytes. */
export function sizeOf(image: ImageFile): number {
  const base64 = base64Of(image);
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

/** Message for a request with images that failed. */
export function imageFailure(error: unknown): string {
  const message = messageOf(error);
  // Other limits on images, such as that on pixels, say what is too much.
  if (!(error instanceof ApiError && error.status === 413) || / has /.test(message)) return message;
  const limit = /image\S* is larger than (\d+ MB)/.exec(message);
  return limit
    ? `An image is larger than ${limit[1]}, which is the server's limit. Choose a smaller one.`
    : 'The images are too large for the server. Choose smaller ones.';
}
