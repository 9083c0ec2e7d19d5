// It needs a package that is only for the build, and leaves what the server needs.
const isNumber = require("is-number");
require("node:fs").writeFileSync("built.json", JSON.stringify({ built: isNumber(5) }));
