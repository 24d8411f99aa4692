// The conversation. It outlasts the page, but not the tab's session.

import { imagesOf, type ImageFile } from '../lib/images';
import { session } from '../lib/session.svelte';
import type { Model } from '../lib/types';
import { Answer } from './answer.svelte';
import { bodyOf, type ChatBody, type Parameters } from './request';

/** A question, and an answer of each model that was asked. */
export class Turn {
  answers = $state.raw<readonly Answer[]>([]);

  constructor(
    readonly text: string,
    readonly images: readonly ImageFile[],
  ) {}
}

class Chat {
  turns = $state.raw<readonly Turn[]>([]);
  draft = $state('');
  images = $state.raw<readonly ImageFile[]>([]);
  /** Messages about files that cannot be sent. */
  refused = $state.raw<readonly string[]>([]);
  system = $state('');
  parameters = $state<Parameters>({});
  /** Whether the server's cache may answer. */
  cached = $state(true);
  compare = $state(false);
  /** Whether the settings are shown. */
  settings = $state(matchMedia('(min-width: 1180px)').matches);
  /** All models that can chat. */
  installed = $state.raw<readonly Model[]>([]);
  /** Names that were chosen. */
  selectedModels = $state<(string | undefined)[]>([]);
  /** The last complete answer, for screen readers. */
  finished = $state('');

  /** The models to ask. */
  readonly models: readonly Model[] = $derived.by(() => {
    const first = this.#named(0) ?? this.installed[0];
    const second = this.#named(1) ?? this.installed.find((model) => model !== first) ?? first;
    return [first, ...(this.compare ? [second] : [])].filter((model) => model !== undefined);
  });

  readonly busy: boolean = $derived(this.turns.at(-1)?.answers.some((answer) => answer.running) ?? false);

  /** Models that cannot see the images of the conversation. */
  readonly modelsWithoutVision: readonly Model[] = $derived.by(() => {
    const images = [...this.turns.flatMap((turn) => turn.images), ...this.images];
    return images.length === 0 ? [] : this.models.filter((model) => !hasVision(model));
  });

  readonly ready: boolean = $derived(!this.busy && this.models.length > 0 && this.modelsWithoutVision.length === 0);

  /** Adds images to the draft. */
  async attach(files: File[], refused: readonly string[] = []) {
    const { key } = session;
    const { images, failures } = await imagesOf(files);
    if (session.key !== key) return;
    this.refused = [...refused, ...failures];
    this.images = [...this.images, ...images];
  }

  /** Sends the draft. */
  send() {
    if (!this.ready || (this.draft.trim() === '' && this.images.length === 0)) return;
    this.ask(this.draft.trim(), this.images);
    this.draft = '';
    this.images = [];
  }

  ask(text: string, images: readonly ImageFile[] = []) {
    const turn = new Turn(text, images);
    this.refused = [];
    this.turns = [...this.turns, turn];
    turn.answers = this.models.map((model) => new Answer(model.name));
    turn.answers.forEach((_, column) => void this.#run(turn, column, !this.cached));
  }

  /** Replaces a turn, and removes all that follow it. */
  askAgain(turn: Turn, text: string, images: readonly ImageFile[]) {
    this.stop();
    this.turns = this.turns.slice(0, this.turns.indexOf(turn));
    this.ask(text, images);
  }

  /** Asks for another answer of the last turn. */
  regenerate(column: number, fresh: boolean) {
    const turn = this.turns.at(-1)!;
    const model = this.models[column]?.name ?? turn.answers[column]!.model;
    turn.answers = turn.answers.with(column, new Answer(model));
    void this.#run(turn, column, fresh);
  }

  stop() {
    this.turns.at(-1)?.answers.forEach((answer) => answer.stop());
  }

  clear() {
    this.stop();
    this.turns = [];
    this.finished = '';
  }

  /** The request of the last turn, or of the draft. */
  get request(): { body: ChatBody; images: readonly ImageFile[] } {
    const turns = this.turns.length > 0 ? this.turns : [new Turn(this.draft.trim() || 'Hello!', this.images)];
    const body = bodyOf(this.models[0]?.name ?? '', turns, 0, this.system, this.parameters);
    return { body, images: turns.flatMap((turn) => turn.images) };
  }

  async #run(turn: Turn, column: number, fresh: boolean) {
    const answer = turn.answers[column]!;
    const turns = this.turns.slice(0, this.turns.indexOf(turn) + 1);
    await answer.ask(bodyOf(answer.model, turns, column, this.system, this.parameters), fresh);
    if (answer.state === 'done') this.finished = `${answer.model} answered: ${answer.text.replace(/[*_`#>|~]+/g, '')}`;
  }

  #named(column: number): Model | undefined {
    return this.installed.find((model) => model.name === this.selectedModels[column]);
  }
}

export const chat = new Chat();

export function hasVision(model: Model): boolean {
  return model.capabilities.includes('vision');
}

// Leaves nothing for who signs in next.
session.onEnd(() => {
  chat.clear();
  chat.draft = '';
  chat.images = [];
  chat.refused = [];
  chat.system = '';
  chat.parameters = {};
  chat.cached = true;
  chat.compare = false;
  chat.selectedModels = [];
  chat.installed = [];
});
