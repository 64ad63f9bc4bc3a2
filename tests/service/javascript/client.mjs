// The official client, from where `make install` put it, and what a script was given: JSON on stdin.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const required = createRequire(`${process.env.CLIENT_FOLDER}/`)("openai");
export const OpenAI = required.OpenAI;
export const toFile = required.toFile;
export const given = JSON.parse(readFileSync(0, "utf8"));
export const client = new OpenAI({
  baseURL: `${given.url}/v1`,
  apiKey: given.key,
  adminAPIKey: given.key, // what the client sends for permissions of checkpoints
  maxRetries: 0,
});

// Prints what a script found, as the only thing on stdout.
export function found(value) {
  process.stdout.write(JSON.stringify(value));
}

// Returns what an error of the client says; anything else ends the script.
export function told(error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  return { error: error.constructor.name, status: error.status, code: error.code, param: error.param };
}

// Follows a job's events as they happen, until it is over.
export async function followed(job) {
  const events = [];
  const stream = await client.get(`/fine_tuning/jobs/${job}/events`, { query: { stream: true }, stream: true });
  for await (const event of stream) events.push(event);
  return events;
}
