const VERSION = "v1";
let jobs = 0;

console.log(`worker ${VERSION}: started`);
setInterval(() => console.log(`worker ${VERSION}: job ${(jobs += 1)} done`), 1000);
process.on("SIGTERM", () => {
  console.log(`worker ${VERSION}: stopped after ${jobs} jobs`);
  process.exit(0);
});
