// Images that are drawn in the page, simple enough for the smallest of models.

import type { ImageFile } from './images';

const SIDE = 256;

type Draw = (context: CanvasRenderingContext2D) => void;

function background(color: string): Draw {
  return (context) => {
    context.fillStyle = color;
    context.fillRect(0, 0, SIDE, SIDE);
  };
}

function circle(color: string, x: number, y: number, radius: number): Draw {
  return (context) => {
    context.fillStyle = color;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  };
}

/** A polygon around a center, from the top, whose points alternate between the distances. */
function star(color: string, x: number, y: number, points: number, ...distances: number[]): Draw {
  return (context) => {
    context.fillStyle = color;
    context.beginPath();
    for (let point = 0; point < points; point++) {
      const angle = (point / points) * 2 * Math.PI - Math.PI / 2;
      const distance = distances[point % distances.length]!;
      context.lineTo(x + distance * Math.cos(angle), y + distance * Math.sin(angle));
    }
    context.fill();
  };
}

function square(color: string, x: number, y: number, side: number): Draw {
  return (context) => {
    context.fillStyle = color;
    context.fillRect(x - side / 2, y - side / 2, side, side);
  };
}

function text(color: string, words: string, font: string): Draw {
  return (context) => {
    context.fillStyle = color;
    context.font = font;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(words, SIDE / 2, SIDE / 2);
  };
}

export interface Sample {
  name: string;
  parts: Draw[];
}

export const RED_CIRCLE: Sample = { name: 'Red circle', parts: [background('#fcfcfc'), circle('#d92626', 128, 128, 72)] };

export const SAMPLES: readonly Sample[] = [
  RED_CIRCLE,
  {
    name: 'Triangle and star',
    parts: [background('#121214'), star('#26a641', 68, 128, 3, 48), star('#f5dc32', 188, 128, 10, 50, 20)],
  },
  { name: 'Blue square', parts: [background('#f5dc32'), square('#2453d4', 128, 128, 124)] },
  { name: 'Word', parts: [background('#fcfcfc'), text('#121214', 'HELLO', '60px "DejaVu Sans", Verdana, sans-serif')] },
];

export function draw(canvas: HTMLCanvasElement, sample: Sample) {
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext('2d')!;
  for (const part of sample.parts) part(context);
}

export function imageOfSample(sample: Sample): ImageFile {
  const canvas = document.createElement('canvas');
  draw(canvas, sample);
  return { name: `${sample.name}.png`, dataUrl: canvas.toDataURL('image/png'), width: SIDE, height: SIDE };
}
