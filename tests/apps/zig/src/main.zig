//! A web server of sockets and nothing else, which outlives changes of the standard library.

const Address = extern struct { family: u16, port: u16, address: u32 = 0, zero: [8]u8 = @splat(0) };

extern "c" fn socket(domain: c_int, kind: c_int, protocol: c_int) c_int;
extern "c" fn setsockopt(socket: c_int, level: c_int, name: c_int, value: *const c_int, size: u32) c_int;
extern "c" fn bind(socket: c_int, address: *const Address, size: u32) c_int;
extern "c" fn listen(socket: c_int, backlog: c_int) c_int;
extern "c" fn accept(socket: c_int, address: ?*anyopaque, size: ?*u32) c_int;
extern "c" fn read(file: c_int, buffer: [*]u8, size: usize) isize;
extern "c" fn write(file: c_int, buffer: [*]const u8, size: usize) isize;
extern "c" fn close(file: c_int) c_int;
extern "c" fn getenv(name: [*:0]const u8) ?[*:0]const u8;
extern "c" fn atoi(text: [*:0]const u8) c_int;
extern "c" fn exit(status: c_int) noreturn;
extern "c" fn signal(number: c_int, handler: *const fn (c_int) callconv(.c) void) ?*anyopaque;

const body = "Hello from Zig v1\n";
const answer = "HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n" ++ body;

fn end(_: c_int) callconv(.c) void {
    exit(0);
}

pub export fn main() c_int {
    _ = signal(15, &end);
    const port: u16 = @intCast(atoi(getenv("PORT") orelse return 1));
    const server = socket(2, 1, 0);
    const yes: c_int = 1;
    _ = setsockopt(server, 1, 2, &yes, 4);
    const address: Address = .{ .family = 2, .port = @byteSwap(port) };
    if (bind(server, &address, 16) != 0 or listen(server, 64) != 0) return 1;
    var buffer: [4096]u8 = undefined;
    while (true) {
        const client = accept(server, null, null);
        _ = read(client, &buffer, buffer.len);
        _ = write(client, answer, answer.len);
        _ = close(client);
    }
}
