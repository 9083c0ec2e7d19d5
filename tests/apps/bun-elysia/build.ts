// It needs a package that is only for the build, and leaves what the server needs.
import isNumber from "is-number";
await Bun.write("built.json", JSON.stringify({ built: isNumber(5) }));
