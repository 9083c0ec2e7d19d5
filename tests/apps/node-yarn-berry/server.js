const http = require("node:http");
const { nanoid } = require("nanoid/non-secure");
const { built } = require("./built.json");

const VERSION = "v1";
const answer = `Hello from yarn-berry ${VERSION}, built ${built}, id of ${nanoid(8).length}\n`;
http.createServer((request, response) => response.end(answer)).listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));
