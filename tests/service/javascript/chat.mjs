// Asks a model, once for the whole answer and once as it is written.

import { client, found, given } from "./client.mjs";

const asked = { model: given.model, messages: [{ role: "user", content: "Hello" }], max_tokens: 6 };
const answer = await client.chat.completions.create(asked);
const pieces = [];
for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) pieces.push(chunk);
const models = [];
for await (const model of client.models.list()) models.push(model.id);
found({ answer, pieces, models });
