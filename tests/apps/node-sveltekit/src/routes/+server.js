export function GET() {
	return new Response("Hello from SvelteKit v1\n");
}
