"use strict";

/* Pictures at their full size. */
const dialog = document.querySelector("dialog");
for (const button of document.querySelectorAll(".picture")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img").cloneNode();
    dialog.replaceChildren(image);
    dialog.showModal();
  });
}
dialog?.addEventListener("click", () => dialog.close());

/* The interactive view: its program is unpacked once, when it is first wanted. */
const bytesOf = (id) => {
  const text = atob(document.getElementById(id).textContent);
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
};

let program = null;
const loadProgram = () => {
  program ??= (async () => {
    const packed = new Blob([bytesOf("niivue")]).stream();
    const unpacked = packed.pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(unpacked).text();
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    await new Promise((done, failed) => {
      script.onload = done;
      script.onerror = () => failed(new Error("the viewer's program was not accepted"));
      document.head.append(script);
    });
    URL.revokeObjectURL(script.src);
  })();
  return program;
};

const missing = () => {
  if (typeof DecompressionStream === "undefined") return "DecompressionStream";
  return document.createElement("canvas").getContext("webgl2") ? "" : "WebGL 2";
};

const show = async (viewer) => {
  await loadProgram();
  viewer.querySelector(".stage").hidden = false; // the program takes its size from it
  const view = new niivue.Niivue({
    backColor: [0, 0, 0, 1], crosshairWidth: 0.4, crosshairColor: [1, 1, 1, 0.5],
    show3Dcrosshair: false, isCornerOrientationText: true, isOrientCube: true, isColorbar: false, logLevel: "error", loadingText: "",
    meshThicknessOn2D: 3, // mm: streamlines near a slice
    meshXRay: 0.3, // those behind the image shine through
  });
  await view.attachToCanvas(viewer.querySelector("canvas"));
  const file = new File([bytesOf(viewer.dataset.volume)], "image.nii.gz");
  view.addVolume(await niivue.NVImage.loadFromFile({ file, name: "image.nii.gz" }));
  const lines = bytesOf(viewer.dataset.lines).buffer;
  view.addMesh(await niivue.NVMesh.readMesh(lines, "streamlines.trx", view.gl));
  view.setScale(1.4); // a head fills the stage
  return view;
};

for (const viewer of document.querySelectorAll(".viewer")) {
  const open = viewer.querySelector(".first");
  const status = viewer.querySelector("[role=status]");
  const choices = viewer.querySelector(".choices");
  const say = (text) => { status.textContent = text; };
  const lacking = missing();
  if (lacking) {
    say(`This browser cannot draw the interactive view: it lacks ${lacking}.`);
    open.hidden = true;
    continue;
  }
  open.addEventListener("click", async () => {
    open.disabled = true;
    say("Unpacking …");
    try {
      const view = await show(viewer);
      const looks = {
        lines: () => { view.setOpacity(0, 0); view.setSliceType(view.sliceTypeRender); },
        both: () => { view.setOpacity(0, 1); view.setSliceType(view.sliceTypeRender); },
        slices: () => { view.setOpacity(0, 1); view.setSliceType(view.sliceTypeMultiplanar); },
      };
      for (const button of choices.querySelectorAll("button")) {
        button.addEventListener("click", () => {
          for (const other of choices.querySelectorAll("button")) {
            other.setAttribute("aria-pressed", String(other === button));
          }
          looks[button.value]();
        });
      }
      choices.hidden = false;
      open.hidden = true;
      choices.querySelector("button").click();
      say("Turn with the mouse or a finger; the wheel zooms.");
      viewer.dataset.state = "shown";
    } catch (error) {
      say(`The interactive view could not be drawn: ${error.message}`);
      viewer.dataset.state = "failed";
    }
  });
}
