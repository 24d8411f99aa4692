import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// In development the page is served by Vite, and the API by a server that runs already.
const server = process.env.SIMPLETON_URL ?? 'http://127.0.0.1:8000';
const proxy = { '^/(?!dashboard/(?!session)).*': { target: server } };

export default defineConfig({
  base: '/dashboard/',
  plugins: [svelte()],
  // One stylesheet compresses better than one of each page.
  build: { target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0, cssCodeSplit: false },
  server: { proxy },
  preview: { proxy },
});
