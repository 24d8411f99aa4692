// The pages, in the order of the menu. All but the first are loaded when they are opened, or when the browser is idle.

import type { Component } from 'svelte';
import Overview from './pages/Overview.svelte';
import type { IconName } from './ui/Icon.svelte';

export interface PageEntry {
  path: string;
  name: string;
  icon: IconName;
  load: () => Promise<{ default: Component }>;
}

export const GROUPS: readonly { name: string; pages: readonly PageEntry[] }[] = [
  {
    name: 'Monitor',
    pages: [
      { path: '', name: 'Overview', icon: 'overview', load: async () => ({ default: Overview }) },
      { path: 'endpoints', name: 'Endpoints', icon: 'endpoints', load: () => import('./pages/Endpoints.svelte') },
      { path: 'errors', name: 'Errors', icon: 'errors', load: () => import('./pages/Errors.svelte') },
      { path: 'usage', name: 'Usage', icon: 'usage', load: () => import('./pages/Usage.svelte') },
      { path: 'cache', name: 'Cache', icon: 'cache', load: () => import('./pages/Cache.svelte') },
    ],
  },
  {
    name: 'Playground',
    pages: [
      { path: 'chat', name: 'Chat', icon: 'chat', load: () => import('./pages/Chat.svelte') },
      { path: 'vision', name: 'Vision', icon: 'vision', load: () => import('./pages/Vision.svelte') },
      { path: 'embeddings', name: 'Embeddings', icon: 'embeddings', load: () => import('./pages/Embeddings.svelte') },
      { path: 'documents', name: 'Documents', icon: 'documents', load: () => import('./pages/Documents.svelte') },
    ],
  },
  {
    name: 'Server',
    pages: [
      { path: 'models', name: 'Models', icon: 'models', load: () => import('./pages/Models.svelte') },
      { path: 'settings', name: 'Settings', icon: 'settings', load: () => import('./pages/Settings.svelte') },
    ],
  },
];

/** Loads every page, so that they open without a connection. A browser does not repeat an import that failed. */
export function loadAll() {
  void Promise.allSettled(GROUPS.flatMap((group) => group.pages).map((page) => page.load()));
}

export function pageAt(path: string): PageEntry | undefined {
  return GROUPS.flatMap((group) => group.pages).find((page) => page.path === path);
}
