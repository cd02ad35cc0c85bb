import { defineConfig } from "vite";

// Nothing may be inlined: the server's content-security policy allows no data: scripts, styles or pictures.
export default defineConfig({
  base: "/",
  build: {
    outDir: "../src/plurimask/viewer/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    target: "es2022",
    rollupOptions: {
      output: {
        entryFileNames: "viewer.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
