document.querySelector("#app").textContent = `Hello from ${import.meta.env.VITE_NAME} at ${location.pathname}`;
