await Deno.writeTextFile("built.json", JSON.stringify({ built: true }));
