import { Hono } from "hono";

const VERSION = "v1";
const { built } = JSON.parse(await Deno.readTextFile("built.json"));
const app = new Hono();
app.get("/", (context) => context.text(`Hello from Deno ${VERSION}, built ${built}\n`));
// Where it listens is not said: that is for whoever runs it.
Deno.serve(app.fetch);
