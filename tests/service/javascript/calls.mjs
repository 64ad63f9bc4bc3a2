// Makes every call of the client's files, fine-tuning, models and uploads, and says what each came to.

import { client, found, given, told, toFile } from "./client.mjs";

function* calls(resource, path) {
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(resource));
  for (const name of own) if (name !== "constructor" && !name.startsWith("_")) yield [...path, name].join(".");
  for (const [name, value] of Object.entries(resource))
    if (!name.startsWith("_") && value && typeof value === "object") yield* calls(value, [...path, name]);
}

const { files, fineTuning, models, uploads } = client;
const { jobs, checkpoints, alpha } = fineTuning;
const grader = given.grader;
const rows = async () => toFile(Buffer.from(given.rows), "rows.jsonl");
const uploaded = async () => (await files.create({ file: await rows(), purpose: "fine-tune" })).id;
const waiting = async () => (await jobs.create({ model: "tiny", training_file: given.file })).id;
const paused = async () => (await jobs.pause(await waiting())).id;
const upload = { bytes: 9, filename: "f", mime_type: "text/jsonl", purpose: "fine-tune" };
const asks = {
  "files.create": async () => files.create({ file: await rows(), purpose: "fine-tune" }),
  "files.retrieve": () => files.retrieve(given.file),
  "files.list": () => files.list({ purpose: "fine-tune", order: "asc", limit: 2 }),
  "files.delete": async () => files.delete(await uploaded()),
  "files.content": () => files.content(given.file),
  "files.waitForProcessing": () => files.waitForProcessing(given.file, { pollInterval: 100 }),
  "fineTuning.jobs.create": () => jobs.create({ model: "tiny", training_file: given.file, seed: 3 }),
  "fineTuning.jobs.retrieve": () => jobs.retrieve(given.job),
  "fineTuning.jobs.list": () => jobs.list({ limit: 2 }),
  "fineTuning.jobs.listEvents": () => jobs.listEvents(given.job, { limit: 2 }),
  "fineTuning.jobs.cancel": async () => jobs.cancel(await waiting()),
  "fineTuning.jobs.pause": async () => jobs.pause(await waiting()),
  "fineTuning.jobs.resume": async () => jobs.resume(await paused()),
  "fineTuning.jobs.checkpoints.list": () => jobs.checkpoints.list(given.job, { limit: 1 }),
  "fineTuning.alpha.graders.run": () =>
    alpha.graders.run({ grader, model_sample: "yes", item: { answer: "yes" } }),
  "fineTuning.alpha.graders.validate": () => alpha.graders.validate({ grader }),
  "fineTuning.checkpoints.permissions.create": () =>
    checkpoints.permissions.create(given.model, { project_ids: ["p"] }),
  "fineTuning.checkpoints.permissions.retrieve": () => checkpoints.permissions.retrieve(given.model),
  "fineTuning.checkpoints.permissions.list": () => checkpoints.permissions.list(given.model),
  "fineTuning.checkpoints.permissions.delete": () =>
    checkpoints.permissions.delete("cp_1", { fine_tuned_model_checkpoint: given.model }),
  "models.retrieve": () => models.retrieve(given.model),
  "models.list": () => models.list(),
  "models.delete": () => models.delete(given.model),
  "uploads.create": () => uploads.create(upload),
  "uploads.cancel": () => uploads.cancel("upload_1"),
  "uploads.complete": () => uploads.complete("upload_1", { part_ids: ["p"] }),
  "uploads.parts.create": async () => uploads.parts.create("upload_1", { data: await rows() }),
};
const unsupported = {
  integrations: () =>
    jobs.create({ model: "tiny", training_file: given.file, integrations: [{ type: "wandb", wandb: {} }] }),
  metadata: () => jobs.list({ metadata: { team: "desk" } }),
  expires_after: async () =>
    files.create({ file: await rows(), purpose: "fine-tune", expires_after: { anchor: "created_at", seconds: 9 } }),
};

async function asked(ask) {
  return Promise.resolve()
    .then(ask)
    .then(() => "answered", told);
}

const known = [];
for (const name of ["files", "fineTuning", "models", "uploads"]) known.push(...calls(client[name], [name]));
const came = {};
for (const [name, ask] of Object.entries(asks)) if (known.includes(name)) came[name] = await asked(ask);
const refused = {};
for (const [name, ask] of Object.entries(unsupported)) refused[name] = await asked(ask);
for await (const job of jobs.list())
  if (!["succeeded", "failed", "cancelled"].includes(job.status)) await jobs.cancel(job.id);
found({ known, came, refused });
