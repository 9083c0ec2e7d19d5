exports.greet = () => "a workspace of pnpm";
