// Screenshots for the README: a server after minutes of work, and a chat.

import { api, open, withBrowser } from './browser.mjs';

const { SCREENSHOTS } = process.env;
const MINUTES = 4;

const QUESTIONS = ['What is the capital of France?', 'Name a color.', 'What is 2 + 2?', 'Say hello in Spanish.'];

/** Requests as a small team sends them: some are asked again, and a few are wrong. */
async function work(until) {
  for (let at = 0; Date.now() < until; at++) {
    await api('/embeddings/', { body: { input: [`ticket ${at % 40}`, `ticket ${at % 7}`] } });
    if (at % 10 === 0) {
      const content = at % 20 === 0 ? QUESTIONS[(at / 20) % QUESTIONS.length] : `What is ${at} + 1?`;
      await api('/inference/chat', { body: { messages: [{ role: 'user', content }], max_tokens: 12 } });
    }
    if (at % 60 === 59) await api('/embeddings/', { body: { input: 5 } });
    await new Promise((resolve) => setTimeout(resolve, 100 + 400 * Math.abs(Math.sin(at / 40))));
  }
}

await withBrowser(async (browser) => {
  const options = { viewport: { width: 1440, height: 960 }, deviceScaleFactor: 1, expected: ['422'] };
  await work(Date.now() + MINUTES * 60_000);
  const load = work(Date.now() + 60_000);
  const overview = await open(browser, '', { ...options, colorScheme: 'light' });
  await overview.getByText('15m', { exact: true }).click();
  await overview.getByText('Live', { exact: true }).waitFor();
  await overview.waitForTimeout(12_000);
  await overview.screenshot({ path: `${SCREENSHOTS}/overview.png` });
  await load;

  const chat = await open(browser, 'chat', { ...options, colorScheme: 'dark' });
  await chat.getByLabel('Temperature').fill('0');
  await chat.getByLabel('Max tokens').fill('200');
  await chat.getByRole('textbox', { name: /^Message/ }).fill('Write a Python function that says whether a year is a leap year. Only code, without comments.');
  await chat.keyboard.press('Enter');
  await chat.locator('article .markdown').getByText(/\w/).first().waitFor();
  await chat.getByRole('button', { name: 'Stop' }).waitFor({ state: 'detached' });
  await chat.waitForTimeout(500);
  await chat.screenshot({ path: `${SCREENSHOTS}/chat.png` });
});
