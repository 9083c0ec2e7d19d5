import { Elysia } from "elysia";
import { built } from "../built.json";

const VERSION = "v1";
new Elysia()
  .get("/", () => `Hello from Bun ${VERSION} ${process.versions.bun ? "itself" : "?"}, built ${built}\n`)
  .listen(process.env.PORT ?? 3000);
