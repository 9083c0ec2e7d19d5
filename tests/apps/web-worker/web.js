const http = require("node:http");

const VERSION = "v1";
const server = http.createServer((request, response) => {
  console.log(`${request.method} ${request.url}`);
  response.end(`Hello from web ${VERSION}\n`);
});
server.listen(process.env.PORT || 3000, () => console.log("web: listening"));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
