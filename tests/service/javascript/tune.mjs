// Uploads rows, makes jobs of them, follows both to their ends, and asks the models that nobody has signed.

import { client, followed, found, given, told, toFile } from "./client.mjs";

async function tuned(name) {
  const asked = given.jobs[name];
  const file = await client.files.create({
    file: await toFile(Buffer.from(asked.rows), `${name}.jsonl`),
    purpose: "fine-tune",
  });
  const screened = await client.files.waitForProcessing(file.id, { pollInterval: 200 });
  const made = await client.fineTuning.jobs.create({
    model: "tiny",
    training_file: file.id,
    suffix: name,
    method: { type: "supervised", supervised: { hyperparameters: asked.hyperparameters } },
  });
  return { screened: screened.status, file: file.id, made };
}

async function ended({ screened, file, made }) {
  const events = await followed(made.id);
  const job = await client.fineTuning.jobs.retrieve(made.id);
  const listed = [];
  for await (const event of client.fineTuning.jobs.listEvents(made.id, { limit: 3 })) listed.push(event.id);
  const checkpoints = [];
  for await (const one of client.fineTuning.jobs.checkpoints.list(made.id, { limit: 1 })) checkpoints.push(one);
  const content = await (await client.files.content(file)).text();
  const said = events.find((event) => event.type === "moderation_checks")?.data;
  const model = said?.finetuned_model_checkpoint_id;
  const refused = await client.chat.completions
    .create({ model, messages: [{ role: "user", content: "Hello" }] })
    .then(() => null, told);
  return { screened, file, job, events, listed, checkpoints, content, model, refused };
}

const made = {};
for (const name of Object.keys(given.jobs)) made[name] = await tuned(name);
const result = {};
for (const name of Object.keys(made)) result[name] = await ended(made[name]);
found(result);
