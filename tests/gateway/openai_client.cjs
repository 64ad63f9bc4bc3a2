// Asks a gateway with the official JavaScript client; prints what came back as JSON.
const OpenAI = require("openai");

async function main() {
  const [textUrl, toolUrl, apiKey, model] = process.argv.slice(2);
  const text = new OpenAI({ baseURL: textUrl + "/v1", apiKey, maxRetries: 0 });
  const tool = new OpenAI({ baseURL: toolUrl + "/v1", apiKey, maxRetries: 0 });
  const messages = [{ role: "user", content: "good morning" }];
  const tools = [{ type: "function", function: { name: "look_up", parameters: { type: "object" } } }];
  const found = {};

  found.models = (await text.models.list()).data.map((one) => one.id);
  const plain = await text.chat.completions.create({ model, messages });
  found.plain = [plain.choices[0].message.content, plain.choices[0].finish_reason];
  found.certificate = plain.recert.certificate;

  let streamed = "";
  let reason = null;
  const stream = await text.chat.completions.create({
    model, messages, stream: true, stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
    reason = chunk.choices[0]?.finish_reason ?? reason;
    if (chunk.usage) found.tokens = chunk.usage.total_tokens;
  }
  found.streamed = [streamed, reason];

  const called = await tool.chat.completions.create({ model, messages, tools });
  const call = called.choices[0].message.tool_calls[0];
  found.tool = [call.function.name, JSON.parse(call.function.arguments)];

  const failing = async (ask) => {
    try {
      await ask();
      return "answered";
    } catch (error) {
      return [error.constructor.name, error.status, error.code, error.param ?? null];
    }
  };
  found.refused = await failing(() => text.chat.completions.create({ model, messages, n: 3 }));
  found.missing = await failing(() => text.chat.completions.create({ model: "other", messages }));
  found.elsewhere = await failing(() => text.responses.create({ model, input: "good morning" }));
  const stranger = new OpenAI({ baseURL: textUrl + "/v1", apiKey: "wrong-key-0123456789", maxRetries: 0 });
  found.stranger = await failing(() => stranger.models.list());
  console.log(JSON.stringify(found));
}

main();
