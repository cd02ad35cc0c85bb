import { options, render } from "preact";
import { App } from "./app";
import { startTheme } from "./parts/topbar";
import "./style.css";

// One update of the page a frame, however fast a pointer moves.
options.debounceRendering = (update) => void requestAnimationFrame(update);

startTheme();
render(<App />, document.getElementById("app")!);
