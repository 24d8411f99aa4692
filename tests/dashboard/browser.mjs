// A browser for the tests: every script runs in one, and fails at the first error that a page logs, and at the first
// request to another host.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

export const SERVER = process.env.SIMPLETON_URL;
export const KEY = process.env.SIMPLETON_KEY;

/** For a busy machine, and models that answer in tens of seconds. */
export const TIMEOUT_MS = 120_000;

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Runs `test` with a browser, which is closed whatever happens. */
export async function withBrowser(test) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  try {
    await test(browser);
  } finally {
    await browser.close();
  }
}

/**
 * A page of the dashboard, signed in unless `key` is null.
 *
 * `expected` are errors that the page may log, such as those of a request that the test wants to fail.
 */
export async function open(browser, path = '', { server = SERVER, key = KEY, expected = [], ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const faults = [];
  page.on('console', (message) => {
    const text = `${message.text()} ${message.location().url}`;
    if (message.type() === 'error' && !expected.some((part) => text.includes(part))) faults.push(text);
  });
  page.on('pageerror', (error) => faults.push(error.stack));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['blob:', 'data:'].includes(url.protocol) && url.origin !== server) faults.push(`a request to ${url}`);
  });
  page.check = () => assert.deepEqual(faults, []);
  if (key !== null) await page.addInitScript((key) => sessionStorage.setItem('simpleton.key', key), key);
  await page.goto(`${server}/dashboard/${path}`);
  return page;
}

/** A request to the API, as any client sends it. */
export async function api(path, { server = SERVER, body, ...options } = {}) {
  const headers = { 'x-api-key': KEY, ...(body !== undefined && { 'content-type': 'application/json' }) };
  const method = body === undefined ? 'GET' : 'POST';
  return fetch(server + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...options });
}

/** Serious and critical faults of accessibility. */
export async function accessibilityFaults(page) {
  // Not by a script element, which the page's policy forbids.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join('\n')}`);
}

/** Waits until `condition` holds, which is checked at intervals. */
export async function eventually(what, condition) {
  const start = Date.now();
  while (!(await condition())) {
    if (Date.now() - start > TIMEOUT_MS) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
